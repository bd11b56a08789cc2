r"""Proximal maps of penalties on tensors, in a diagonal metric d:

.. math:: \arg\min_z \tfrac12 \sum_i d_i (z_i - w_i)^2 + R(z).

References
----------
Yun, Lozano, Yang, "Adaptive proximal gradient methods for structured neural networks",
NeurIPS 2021.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from symbias._core.arrays import Shape
from symbias._core.refusal import Refused
from symbias.penalties import Penalty, Piece, Scalar
from symbias.torch.proximal.metrics import Metric

NEWTON, CLOSE = 40, 1e-6  # steps at most, and the relative step at which they end


class ProximalMap:
    """The proximal map of a penalty on weights of one shape, and the sizes that it shrinks.

    Raises
    ------
    Refused
        Where the penalty mixes coordinates (total variation, wavelets): its proximal map is a
        problem of its own, while its design is trained like any other.
    """

    def __init__(self, penalty: Penalty, shape: Shape) -> None:
        form = penalty.form(shape)
        if form.mixes:
            raise Refused(
                f"{type(penalty).__name__} is about combinations of weights: its proximal map has "
                "no closed form; symbias.torch.apply(model, name, penalty) trains its design"
            )
        selection = form.linear.selection
        assert selection is not None
        ends = np.cumsum([math.prod(piece.shape) for piece in form.pieces])[:-1]
        index, entry = (np.split(a, ends) for a in selection)
        self.parts = [
            _Part(piece, i.astype(np.int64), e, math.prod(shape))
            for piece, i, e in zip(form.pieces, index, entry, strict=True)
        ]

    @property
    def needs_one_rate(self) -> bool:
        """Whether it is known for a metric that is one number only, as of SGD."""
        return any(part.needs_one_rate for part in self.parts)

    @torch.no_grad()
    def __call__(self, weight: Tensor, metric: Metric, strength: float) -> None:
        """Replace ``weight`` in place by its proximal point for strength * R."""
        if strength == 0:
            return
        flat = _exact(weight).reshape(-1).clone()
        for part in self.parts:
            part.shrink(flat, metric, strength)
        weight.copy_(flat.reshape(weight.shape))

    @torch.no_grad()
    def cut(self, weight: Tensor, threshold: float) -> Tensor:
        """``weight`` with zeros where its sizes are at most ``threshold``."""
        flat = _exact(weight).reshape(-1).clone()
        for part in self.parts:
            part.cut(flat, threshold)
        return flat.reshape(weight.shape).to(weight.dtype)

    @torch.no_grad()
    def sizes(self, weight: Tensor) -> Tensor:
        """Entries, norms of groups, singular values, in units of the weight."""
        flat = _exact(weight).reshape(-1)
        return torch.cat([part.sizes(flat) for part in self.parts])


class _Part:
    """One piece of a penalty, a function of the coordinates c = ``flat[index] / entry``."""

    def __init__(self, piece: Piece, index: np.ndarray, entry: np.ndarray, whole: int) -> None:
        self.piece, self.scalar = piece, piece.scalar
        self.index = None if np.array_equal(index, np.arange(whole)) else torch.from_numpy(index)
        self.entry = None if np.all(entry == 1) else torch.from_numpy(entry)
        labels = piece.sizes.labels
        self.mixed, self.groups = labels is None, None
        if labels is not None and not piece.sizes.elementwise:
            self.groups = _Groups(labels, piece.shape)

    @property
    def needs_one_rate(self) -> bool:
        return self.mixed or (self.groups is not None and self.scalar.corner is None)

    def _at(self, flat: Tensor) -> Any:
        return slice(None) if self.index is None else self.index.to(flat.device)

    def sizes(self, flat: Tensor) -> Tensor:
        w = flat[self._at(flat)]
        if self.mixed and not bool(torch.isfinite(w).all()):
            return torch.full((min(self.piece.shape[-2:]),), torch.nan)
        return self.piece.sizes.of(w.reshape(self.piece.shape))

    def cut(self, flat: Tensor, threshold: float) -> None:
        index = self._at(flat)
        w = flat[index]
        if self.mixed:
            flat[index] = self._with_spectrum(w, lambda s: torch.where(s > threshold, s, 0.0))
        else:
            sizes = w.abs() if self.groups is None else self.groups.spread(self.groups.norms(w))
            flat[index] = torch.where(sizes > threshold, w, 0.0)

    def shrink(self, flat: Tensor, metric: Metric, strength: float) -> None:
        index = self._at(flat)
        c, d = flat[index], metric
        if isinstance(d, Tensor):
            d = d.to(flat.dtype).reshape(-1)[index]
        entry = 1.0 if self.entry is None else self.entry.to(flat)
        flat[index] = entry * self._prox(c / entry, d * entry**2, strength)

    def _prox(self, c: Tensor, d: Metric, strength: float) -> Tensor:
        if self.groups is not None:
            return self.groups.prox(c, d, strength, self.scalar)
        if self.mixed:
            return self._with_spectrum(c, lambda s: _resized(self.scalar, s, strength / d))
        return torch.sign(c) * _resized(self.scalar, c.abs(), strength / d)

    def _with_spectrum(self, c: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Other singular values; what is not finite stays, to be seen."""
        if not bool(torch.isfinite(c).all()):
            return c
        u, s, vt = torch.linalg.svd(c.reshape(self.piece.shape), full_matrices=False)
        return ((u * change(s)[..., None, :]) @ vt).reshape(-1)


class _Groups:
    """Groups of entries: sums over them, and numbers of each at its entries.

    Slices along an axis, the usual case, are views; others go by an index.
    """

    def __init__(self, labels: np.ndarray, shape: Shape) -> None:
        self.shape, self.count = shape, int(labels.max(initial=-1)) + 1
        self.axis = next((k for k in range(len(shape)) if _sliced(labels, shape, k)), None)
        self.index = torch.from_numpy(labels.astype(np.int64))

    def sum(self, x: Tensor) -> Tensor:
        if self.axis is None:
            zeros = torch.zeros(self.count, dtype=x.dtype, device=x.device)
            return zeros.index_add_(0, self.index.to(x.device), x)
        return x.reshape(self.shape).movedim(self.axis, 0).reshape(self.count, -1).sum(1)

    def norms(self, x: Tensor) -> Tensor:
        return self.sum(x * x).sqrt()

    def spread(self, per_group: Tensor) -> Tensor:
        if self.axis is None:
            return per_group[self.index.to(per_group.device)]
        length = self.shape[self.axis]
        lines = per_group.repeat_interleave(length // self.count)
        ends = [1] * len(self.shape)
        ends[self.axis] = length
        return lines.view(ends).expand(self.shape).reshape(-1)

    def prox(self, c: Tensor, d: Metric, strength: float, scalar: Scalar) -> Tensor:
        if isinstance(d, Tensor) and scalar.corner is not None:
            l1, l2 = (strength * slope for slope in scalar.corner)
            return self._in_metric(c, d, l1, l2)
        if isinstance(d, Tensor):  # the same number all over a group
            d = self.sum(d) / self.sum(torch.ones_like(d))
        t = self.norms(c)
        factor = _resized(scalar, t, strength / d) / torch.where(t > 0, t, 1.0)
        return c * self.spread(factor)

    def _in_metric(self, c: Tensor, d: Tensor, l1: float, l2: float) -> Tensor:
        """z = d c s / ((d + l2) s + l1), s = |z| by Newton's steps on 1 / |z(s)/s| = 1.

        The left side is concave in s: from 0 the steps rise to the root and never pass it.
        """
        pull, a = d * c, d + l2
        alive = self.norms(pull) > l1
        s = torch.zeros_like(alive, dtype=c.dtype)
        for _ in range(NEWTON):
            below = a * self.spread(s) + l1
            y2 = (pull / below) ** 2
            r = self.sum(y2).sqrt()
            step = (r - 1) * r**2 / self.sum(y2 * a / below)
            step = torch.where(alive, step, 0.0).clamp_min(0.0)
            s = s + step
            if bool((step <= CLOSE * s).all()):
                break
        return pull * self.spread(torch.where(alive, s, 0.0)) / (a * self.spread(s) + l1)


def _sliced(labels: np.ndarray, shape: Shape, axis: int) -> bool:
    """Whether groups are slices of equal thickness, in order, along an axis."""
    lines = np.moveaxis(labels.reshape(shape), axis, 0).reshape(shape[axis], -1)
    count = int(labels.max(initial=-1)) + 1
    if count == 0 or shape[axis] % count:
        return False
    return bool(np.all(np.arange(shape[axis]) // (shape[axis] // count) == lines.T))


def _resized(scalar: Scalar, t: Tensor, tau: Metric) -> Tensor:
    """The proximal map of tau R at sizes t >= 0."""
    if scalar.corner is not None:
        l1, l2 = scalar.corner
        return (t - l1 * tau).clamp_min(0.0) / (1 + l2 * tau)
    exact = t.double().cpu().numpy()
    widths = tau.double().cpu().numpy() if isinstance(tau, Tensor) else tau
    found = torch.from_numpy(scalar.prox(exact, widths)).to(t)
    return torch.where(t.isnan(), t, found)


def _exact(weight: Tensor) -> Tensor:
    return weight if weight.dtype == torch.float64 else weight.float()
