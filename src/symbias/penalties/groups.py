"""Penalties on groups of coefficients."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Shape, constant
from symbias.maps import Copies, Diagonal
from symbias.penalties.base import Penalty
from symbias.penalties.form import Behind, Form, Piece
from symbias.penalties.scalars import Power
from symbias.penalties.sizes import Groups


@dataclass(frozen=True, eq=False)
class GroupLasso(Penalty):
    """sum_g weights_g |w_g|_2: whole groups are in or out.

    Parameters
    ----------
    groups : int or array of labels
        One label per coefficient, any values; or the size of consecutive groups (the last one may
        be smaller).
    weights : mapping from label to number, or array in the order of sorted labels, optional
        sqrt(size of the group) by default; 0 leaves a group free.
    """

    formula: ClassVar[str] = "sum_g weight_g |w_g|_2"
    belief: ClassVar[str] = "few groups matter"

    groups: Any = 1
    weights: Any = None

    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """The label of every coefficient, of shape ``shape``.

        Raises
        ------
        ValueError
            If ``groups`` is not one label per coefficient, as overlapping groups are not.
        """
        if isinstance(self.groups, int | np.integer):
            if self.groups < 1:
                raise ValueError(f"the size of a group must be at least 1, got {self.groups}")
            return (np.arange(int(np.prod(shape))) // self.groups).reshape(shape)
        try:
            labels = np.asarray(self.groups)
        except ValueError:  # a ragged list
            labels = np.empty(0)
        if labels.shape != shape:
            raise ValueError(
                f"groups must be one label per coefficient, shape {shape}. For overlapping groups "
                "the sum of norms has no such form; sb.LatentGroupLasso(groups) has (the latent "
                "group lasso, whose supports are unions of groups)"
            )
        if labels.dtype.kind == "f" and not np.isfinite(labels).all():
            raise ValueError("groups hold labels that are not finite")
        return labels

    @property
    def couples(self) -> bool:
        return np.ndim(self.groups) == 2

    @property
    def trivial(self) -> bool:
        """Whether no groups were given: every coefficient is one of its own, as under l1."""
        return self.weights is None and np.ndim(self.groups) == 0 and self.groups == 1

    def sizes(self, shape: Shape) -> Groups:
        """The norms that the penalty sums, one for each distinct label."""
        return Groups(self.labels(shape))

    def group_weights(self, groups: Groups) -> np.ndarray:
        """The weight of every group."""
        names = groups.names
        if self.weights is None:
            return np.sqrt(np.bincount(groups.labels, minlength=len(names)))
        if isinstance(self.weights, dict):
            if missing := [n for n in names.tolist() if n not in self.weights]:
                raise ValueError(f"no weight for the groups {missing}")
            return np.array([self.weights[n] for n in names.tolist()], dtype=float)
        weights = np.asarray(self.weights, dtype=float)
        if weights.shape != (len(names),):
            raise ValueError(f"expected {len(names)} group weights, got shape {weights.shape}")
        return weights

    def scales(self, shape: Shape) -> Diagonal:
        """The map from w times the weight of its group to w."""
        groups = self.sizes(shape)
        return Diagonal(self.group_weights(groups)[groups.labels].reshape(shape))

    def __call__(self, w: Array) -> Array:
        groups = self.sizes(tuple(w.shape))
        return array_namespace(w).sum(groups.of(w) * constant(self.group_weights(groups), w))

    def form(self, shape: Shape) -> Form:
        scales, labels = self.scales(shape), self.labels(shape)
        kept = labels[scales.weights > 0] if scales.free else labels
        return Behind(scales, Piece(Groups(kept), Power()))


@dataclass(frozen=True, eq=False)
class LatentGroupLasso(Penalty):
    """min sum_g weights_g |v_g|_2 over all v_g with sum_g v_g = w: a union of groups is in.

    Parameters
    ----------
    groups : list of lists of int
        Members of every group; they may overlap, and together cover all coefficients.
    weights : array, optional
        sqrt(size of the group) by default; positive.

    References
    ----------
    Jacob, Obozinski, Vert, "Group lasso with overlap and graph lasso", ICML 2009.
    """

    formula: ClassVar[str] = "min sum_g weight_g |v_g|_2 over sum_g v_g = w"
    belief: ClassVar[str] = "a union of few, possibly overlapping groups matters"

    groups: Any
    weights: Any = None

    def copies(self, size: int) -> Copies:
        """The map from the parts v_g, one after the other, to w."""
        weights = self.weights
        if weights is None:
            weights = np.sqrt([len(g) for g in self.groups])
        return Copies(self.groups, size, weights)

    def __call__(self, w: Array) -> Array:
        copies = self.copies(w.shape[0])
        norms = Groups(copies.labels).of(copies.inverse(w))
        return array_namespace(w).sum(norms * constant(copies.weights, w))

    def form(self, shape: Shape) -> Form:
        if len(shape) != 1:
            raise ValueError(f"overlapping groups need a vector of coefficients, not shape {shape}")
        copies = self.copies(shape[0])
        weights = Diagonal(copies.weights[copies.labels])
        return Behind(copies, Behind(weights, Piece(Groups(copies.labels), Power())))
