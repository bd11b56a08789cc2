"""One scale per group: group sparsity from plain weight decay."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, as_shape, constant, namespace
from symbias.parameterizations.base import Parameterization
from symbias.parameterizations.inputs import compressed, measurements
from symbias.parameterizations.normal import BoxImage, Products, Scales
from symbias.penalties import Form, Groups, Piece, Power
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

    balanced_section = True

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
        self.sizes = Groups(groups)
        self._lines = _without_repeats(self.labels.reshape(self.shape))

    @property
    def group_names(self) -> np.ndarray:
        """The distinct labels, sorted: one scale each."""
        return self.sizes.names

    @property
    def labels(self) -> np.ndarray:
        """The group of every entry of w, flat."""
        return self.sizes.labels

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

    def _section(self, w: Array, charge: float) -> dict[str, Array]:
        xp = namespace({"w": w})
        norms = self.sizes.of(w)
        half = xp.full_like(norms, charge / 2)
        scales = xp.sqrt(half + xp.hypot(half, norms))
        divisor = self._spread(xp.where(scales > 0, scales, xp.ones_like(scales)))
        return {"s": scales, "v": w / divisor}

    def balanced_form(self) -> Form:
        """sum_g |w_g|_2."""
        return Piece(self.sizes, Power())

    def box_image(self) -> BoxImage:
        """All of |w_i| <= b^2: by scales of b."""
        return BoxImage.power(2)

    def least_gradients(self, w: Array, inputs: Array) -> Array:
        """sum_g 2 sqrt(tr S_g) sqrt(w_g^T S_g w_g), S_g the block of the sum of a a^T."""
        xp = array_namespace(w, inputs)
        rows = measurements(inputs if inputs.ndim > w.ndim else compressed(inputs), self.shape)
        member = constant(np.eye(len(self.group_names))[self.labels], w)
        parts = (rows * xp.reshape(w, (1, -1))) @ member  # of each group in each prediction
        squares = xp.sum(parts**2, axis=0)
        safe = xp.where(squares > 0, squares, xp.ones_like(squares))
        norms = xp.where(squares > 0, xp.sqrt(safe), xp.zeros_like(squares))
        return 2 * xp.sum(xp.sqrt(xp.sum(rows**2, axis=0) @ member) * norms)

    @property
    def gradients_formula(self) -> str:
        return "sum_g 2 sqrt(tr S_g) |S_g^(1/2) w_g|"

    @property
    def scales(self) -> Scales:
        return Scales(self.labels, 1)

    def products(self, theta: Mapping[str, np.ndarray]) -> Products | None:
        """Groups of one entry are products of numbers; larger ones are not."""
        if len(self.group_names) < math.prod(self.shape):
            return None
        return Products(np.stack([theta["s"][self.labels], theta["v"].ravel()]), np.zeros(0))

    def resized(self, shape: Shape) -> "GroupProduct":
        several = len(self.group_names) < len(self.labels)
        size = math.prod(shape)
        groups = np.zeros(size, dtype=int) if several else np.arange(size)
        return GroupProduct(shape, groups=groups.reshape(shape))

    def cut(self, theta: Params, threshold: float, unit: Array | float = 1.0) -> Array:
        w = self(theta)
        kept = self.sizes.of(w * unit) > threshold
        return w * self._spread(array_namespace(w).astype(kept, w.dtype))


def _without_repeats(labels: np.ndarray) -> np.ndarray:
    """The labels with length 1 along every axis on which they do not vary."""
    for axis in range(labels.ndim):
        first = np.take(labels, [0] if labels.shape[axis] else [], axis=axis)
        labels = first if np.all(labels == first) else labels
    return labels
