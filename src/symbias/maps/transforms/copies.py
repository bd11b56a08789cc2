"""Several copies of a coordinate: overlapping groups in their latent form."""

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, constant, from_host
from symbias.maps.transforms.base import Transform, apply

_SWEEPS = 20_000


class Copies(Transform):
    """w_i = the sum of all copies of coordinate i: w = sum_g E_g v_g for groups that may overlap.

    Behind a GroupProduct weight decay is the latent group lasso, min sum_g weight_g |v_g| over
    all v with sum_g E_g v_g = w. It is not the sum of norms of overlapping groups, which has no
    such form: supports here are unions of groups, there complements of unions.

    Parameters
    ----------
    groups : list of lists of int
        Members of every group; together they cover 0 ... size - 1.
    size : int
    weights : array, optional
        Of the groups, in the penalty that `inverse` minimises; 1 by default.

    References
    ----------
    Jacob, Obozinski, Vert, "Group lasso with overlap and graph lasso", ICML 2009.
    """

    noun = "groups"

    def __init__(self, groups: Any, size: int, weights: Any = None) -> None:
        members = [_members(k, g) for k, g in enumerate(groups)]
        self.index = np.concatenate([*members, np.zeros(0, dtype=int)])
        self.labels = np.repeat(np.arange(len(members)), [len(m) for m in members])
        self.size = size
        self.weights = np.ones(len(members)) if weights is None else np.asarray(weights, float)
        if self.weights.shape != (len(members),) or not np.all(self.weights > 0):
            raise ValueError(f"expected {len(members)} positive group weights")
        if missing := sorted(set(range(size)) ^ set(self.index.tolist())):
            raise ValueError(
                f"the groups must cover the coefficients 0 ... {size - 1}: {missing[:5]} are "
                "missing or too many"
            )
        self._matrix = np.zeros((size, len(self.index)))
        self._matrix[self.index, np.arange(len(self.index))] = 1.0

    def __repr__(self) -> str:
        return f"Copies({len(self.weights)} groups, {self.size})"

    def rows(self, coordinates: int) -> int:
        return self.size

    def forward(self, z: Array) -> Array:
        return apply(self._matrix, z)

    def inverse(self, w: Array) -> Array:
        """The split of w with the least sum of weighted norms, to about 1e-9; on the host."""
        xp = array_namespace(w)
        shape = (len(self.index), *w.shape[1:])
        (split,) = from_host(self._split, [shape], [w])
        # exact by construction: what is missing is shared out evenly
        counts = constant(np.bincount(self.index, minlength=self.size), w)
        rest = (w - self.forward(split)) / xp.reshape(counts, (-1,) + (1,) * (w.ndim - 1))
        return split + xp.take(rest, constant(self.index, w, index=True), axis=0)

    def _split(self, w: np.ndarray) -> list[np.ndarray]:
        """Reweighted least squares: v_g = w eta_g / sum of eta, eta_g = |v_g| / weight_g."""
        flat = w.reshape(self.size, -1).astype(float)
        eta = np.ones(len(self.weights))
        v = np.zeros((len(self.index), flat.shape[1]))
        for _ in range(_SWEEPS):
            share = np.bincount(self.index, weights=eta[self.labels], minlength=self.size)
            ratio = eta[self.labels] / np.where(share > 0, share, 1.0)[self.index]
            new = ratio[:, None] * flat[self.index]
            norms = np.bincount(self.labels, np.sum(new**2, axis=1), len(self.weights)) ** 0.5
            if np.abs(new - v).max(initial=0) <= 1e-13 * np.abs(flat).max(initial=0):
                break
            v, eta = new, norms / self.weights
        return [v.reshape(len(self.index), *w.shape[1:])]


def _members(k: int, group: Any) -> np.ndarray:
    """A group's coordinates, as integers and each once."""
    found = np.asarray(group)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError(f"group {k} must be a list of whole numbers, got {group!r}")
    if len(set(found.tolist())) < len(found):
        raise ValueError(f"group {k} names a coefficient twice: {group!r}")
    return found.astype(int)
