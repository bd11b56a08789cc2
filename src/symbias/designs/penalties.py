"""Penalties one may wish for: each says what it is, and nothing about how to reach it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._arrays import Array, constant
from symbias.parameterizations.group_product import GroupProduct
from symbias.parameterizations.transforms import Cosine, CumulativeSum


class Penalty(ABC):
    """A penalty R(w) on the effective parameter. Call it with w for its value, a scalar."""

    @abstractmethod
    def __call__(self, w: Array) -> Array: ...


@dataclass(frozen=True, eq=False)
class L1(Penalty):
    """sum_i weights_i |w_i|: few nonzero coefficients. A weight of 0 leaves a coefficient free."""

    weights: Any = None

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        weights = 1.0 if self.weights is None else constant(np.asarray(self.weights, float), w)
        return xp.sum(xp.abs(w) * weights)


@dataclass(frozen=True, eq=False)
class Lq(Penalty):
    """sum_i |w_i|^q with q < 1: sparser than l1 and less shrunk, but not convex."""

    q: float = 2 / 3

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sum(xp.abs(w) ** self.q)


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

    groups: Any = 1
    weights: Any = None

    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """The label of every coefficient, of shape ``shape``.

        Raises
        ------
        ValueError
            If ``groups`` is not one label per coefficient, as overlapping groups are not.
        """
        if isinstance(self.groups, int):
            if self.groups < 1:
                raise ValueError(f"the size of a group must be at least 1, got {self.groups}")
            return (np.arange(int(np.prod(shape))) // self.groups).reshape(shape)
        try:
            labels = np.asarray(self.groups)
        except ValueError:  # a ragged list
            labels = np.empty(0)
        if labels.shape != shape:
            raise ValueError(
                f"groups must be one label per coefficient, shape {shape}. Overlapping groups have "
                "no such form: repeat the shared columns of X, one copy per group (the latent "
                "group lasso)"
            )
        return labels

    def group_weights(self, product: GroupProduct) -> np.ndarray:
        """The weight of every group of ``product``."""
        names = product.group_names
        if self.weights is None:
            return np.sqrt(np.bincount(product.labels, minlength=len(names)))
        if isinstance(self.weights, dict):
            if missing := [n for n in names.tolist() if n not in self.weights]:
                raise ValueError(f"no weight for the groups {missing}")
            return np.array([self.weights[n] for n in names.tolist()], dtype=float)
        weights = np.asarray(self.weights, dtype=float)
        if weights.shape != (len(names),):
            raise ValueError(f"expected {len(names)} group weights, got shape {weights.shape}")
        return weights

    def __call__(self, w: Array) -> Array:
        product = GroupProduct(tuple(w.shape), groups=self.labels(tuple(w.shape)))
        norms = product.group_norms(w)
        return array_namespace(w).sum(norms * constant(self.group_weights(product), w))


@dataclass(frozen=True, eq=False)
class TotalVariation(Penalty):
    """sum_i |w_(i+1) - w_i|: piecewise constant. The level is not penalised."""

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sum(xp.abs(w[1:] - w[:-1]))


@dataclass(frozen=True, eq=False)
class TrendFilter(Penalty):
    """sum_i |change of slope at i|: piecewise linear. Level and slope are not penalised.

    Slopes are (w_(i+1) - w_i) / spacing_i, spacing 1 by default.
    """

    spacing: Any = None

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        changes = CumulativeSum(min(2, max(w.shape[0], 1)), spacing=self.spacing).inverse(w)[2:]
        return xp.sum(xp.abs(changes))


@dataclass(frozen=True, eq=False)
class Spectral(Penalty):
    """sum_k |c_k| over the orthonormal cosine coefficients c of w: few frequencies."""

    def __call__(self, w: Array) -> Array:
        xp = array_namespace(w)
        return xp.sum(xp.abs(Cosine().inverse(w)))


# short names, for the estimators and the command line
PENALTIES: dict[str, type[Penalty]] = {
    "l1": L1,
    "lq": Lq,
    "group": GroupLasso,
    "tv": TotalVariation,
    "trend": TrendFilter,
    "spectral": Spectral,
}


def as_penalty(penalty: str | Penalty) -> Penalty:
    """A penalty object from its short name, or as it is.

    Raises
    ------
    ValueError
        For an unknown name, with the list of names.
    """
    if isinstance(penalty, Penalty):
        return penalty
    if isinstance(penalty, str) and penalty in PENALTIES:
        return PENALTIES[penalty]()
    raise ValueError(
        f"unknown penalty {penalty!r}; expected a symbias penalty or one of {', '.join(PENALTIES)}"
    )
