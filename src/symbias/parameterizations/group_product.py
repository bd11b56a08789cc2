"""One scale per group: group sparsity from plain weight decay."""

import math
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, Shape, constant, namespace
from symbias.parameterizations.base import Parameterization, as_shape
from symbias.symmetry import Bond, Rescaling, Symmetry


class GroupProduct(Parameterization):
    """w_i = s_g(i) v_i: every entry of a group shares one scale.

    Weight decay lam on the factors is the penalty lam sum_g |w_g|_2, the group lasso (weights per
    group come from a Diagonal synthesis). The symmetry is one Rescaling bond with the charges
    s_g^2 - |v_g|^2.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of w and of the factor ``v``.
    axis : int
        The groups are the slices of w along this axis, if ``groups`` is not given.
    groups : array of integers or strings, optional
        One label per entry of w (the shape of w), of any values and group sizes; ``s`` holds one
        scale per distinct label, in sorted order.

    References
    ----------
    Grandvalet and Canu, "Outcomes of the equivalence of adaptive ridge with least absolute
    shrinkage", NIPS 1998.
    """

    def __init__(self, shape: int | Shape, axis: int = 0, *, groups: Any = None) -> None:
        self.shape = as_shape(shape)
        if groups is None:
            if not -len(self.shape) <= axis < len(self.shape):
                raise ValueError(f"axis {axis} does not exist in shape {self.shape}")
            groups = np.broadcast_to(
                np.expand_dims(
                    np.arange(self.shape[axis]),
                    [k for k in range(len(self.shape)) if k != axis % len(self.shape)],
                ),
                self.shape,
            )
        groups = np.asarray(groups)
        if groups.shape != self.shape:
            raise ValueError(
                f"groups has shape {groups.shape}, expected one label per entry of w: {self.shape}"
            )
        self.group_names, labels = np.unique(groups, return_inverse=True)
        self.labels = labels.reshape(-1)
        self._members = _padded_members(self.labels, len(self.group_names))
        self._lines = _without_repeats(self.labels.reshape(self.shape))

    def __repr__(self) -> str:
        return f"GroupProduct({self.shape}, {len(self.group_names)} groups)"

    @property
    def shapes(self) -> dict[str, Shape]:
        return {"s": (len(self.group_names),), "v": self.shape}

    @property
    def symmetry(self) -> Symmetry:
        if len(self.group_names) == 0:
            return Symmetry([])
        group = Rescaling(len(self.group_names))
        end = ("v", None, self.labels)
        return Symmetry([Bond(group, vectors=[("s", None)], covectors=[end], name="s-v")])

    def _spread(self, per_group: Array) -> Array:
        """The number of every entry's group, in a shape that broadcasts to that of w."""
        xp = namespace({"s": per_group})
        labels = self._lines.reshape(-1)
        if not np.array_equal(labels, np.arange(len(self.group_names))):
            per_group = xp.take(per_group, constant(labels, per_group, index=True), axis=0)
        return xp.reshape(per_group, self._lines.shape)

    def _effective(self, params: Params) -> Array:
        return self._spread(params["s"]) * params["v"]

    def group_norms(self, w: Array) -> Array:
        """|w_g|_2 of every group, shape (number of groups,); no overflow in the squares."""
        xp = namespace({"w": w})
        flat = xp.reshape(w, (-1,))
        if math.prod(self.shape) == 0:
            return xp.zeros_like(flat)
        padded = xp.concat([xp.abs(flat), xp.zeros_like(flat[:1])])
        members = xp.take(padded, constant(self._members.reshape(-1), w, index=True), axis=0)
        members = xp.reshape(members, self._members.shape)
        largest = xp.max(members, axis=1)
        unit = xp.where(largest > 0, largest, xp.ones_like(largest))
        return unit * xp.sqrt(xp.sum((members / unit[:, None]) ** 2, axis=1))

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        xp = namespace({"w": w})
        norms = self.group_norms(w)
        half = xp.full_like(norms, charge / 2)
        scales = xp.sqrt(half + xp.hypot(half, norms))
        divisor = self._spread(xp.where(scales > 0, scales, xp.ones_like(scales)))
        return {"s": scales, "v": w / divisor}


def _without_repeats(labels: np.ndarray) -> np.ndarray:
    """The labels with length 1 along every axis on which they do not vary."""
    for axis in range(labels.ndim):
        first = np.take(labels, [0] if labels.shape[axis] else [], axis=axis)
        labels = first if np.all(labels == first) else labels
    return labels


def _padded_members(labels: np.ndarray, count: int) -> np.ndarray:
    """Row g lists the entries of group g, filled up with the index one past the end."""
    sizes = np.bincount(labels, minlength=count)
    members = np.full((count, sizes.max(initial=0)), len(labels))
    order = np.argsort(labels, kind="stable")
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    members[labels[order], np.arange(len(labels)) - start] = order
    return members
