"""What every parameterization is: a map from factors to an effective parameter."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, concrete, namespace
from symbias.symmetry import Symmetry


class Parameterization(ABC):
    """A redundant parameterization theta -> w of an effective parameter w.

    Parameters theta are a flat dict of named arrays (NumPy, JAX or PyTorch); `shape` is the shape
    of w, `shapes` those of the factors. Names in `free` are plain parameters that weight decay
    must leave alone, because the penalty does not act on them. `balanced_section` tells whether
    `section` finds the least norm.
    """

    shape: Shape
    free: frozenset[str] = frozenset()
    balanced_section: bool = True

    @property
    @abstractmethod
    def shapes(self) -> dict[str, Shape]:
        """Name and shape of every factor."""

    @property
    @abstractmethod
    def symmetry(self) -> Symmetry:
        """The transformations of theta that leave w unchanged."""

    @abstractmethod
    def _effective(self, params: Params) -> Array: ...

    @abstractmethod
    def _section(self, w: Array, charge: float) -> dict[str, Array]: ...

    def __call__(self, params: Params) -> Array:
        """The effective parameter w of ``params``, of shape `shape`.

        Raises
        ------
        ValueError
            If a factor is missing, unknown, or of the wrong shape; the message names it.
        """
        if unknown := set(params) ^ set(self.shapes):
            raise ValueError(
                f"expected the factors {sorted(self.shapes)}, got {sorted(params)}: "
                f"{sorted(unknown)} missing or unknown"
            )
        namespace(params)
        for name, shape in self.shapes.items():
            if tuple(params[name].shape) != shape:
                raise ValueError(
                    f"factor {name!r} has shape {tuple(params[name].shape)}, expected {shape}"
                )
        return self._effective(params)

    def init(self, key: Any, scale: float = 1.0) -> dict[str, Array]:
        """Factors drawn independently from N(0, scale^2).

        ``key`` decides the library: a JAX key, a ``torch.Generator``, a ``numpy.random.Generator``,
        or an integer seed for NumPy.
        """
        return normals(key, self.shapes, scale)

    def section(self, w: Array, charge: float = 0.0) -> dict[str, Array]:
        """Factors theta with ``self(theta) = w``: a right inverse, to rounding.

        With ``charge=0`` they are balanced: of least norm among all equals, for analysis. **Do not
        start training there**: balanced factors keep |u| = |v| under gradient descent, so signs
        freeze. With ``charge=c > 0`` every bond has the charge c, as u^2 - v^2 = c for w = u v:
        the same w, and a start that training can leave in every direction, zeros included.

        Raises
        ------
        ValueError
            If ``w`` has another shape than `shape` or entries that are not finite, or ``charge``
            is negative or not finite.
        TypeError
            If ``w`` is not a floating-point array.
        """
        if not hasattr(w, "shape"):
            raise TypeError(f"w must be an array, got {type(w).__name__}")
        if tuple(w.shape) != self.shape:
            raise ValueError(f"w has shape {tuple(w.shape)}, expected {self.shape}")
        if not array_namespace(w).isdtype(w.dtype, "real floating"):
            raise TypeError(f"w must be a real floating-point array, got {w.dtype}")
        if not 0 <= charge < float("inf"):
            raise ValueError(f"charge must be finite and at least 0, got {charge}")
        seen = concrete(w)
        if seen is not None and not np.all(np.isfinite(seen)):
            raise ValueError("w has entries that are not finite")
        return self._section(w, charge)


def as_shape(shape: int | Shape) -> Shape:
    """``shape`` as a tuple of non-negative integers."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    whole = int | np.integer
    if not all(isinstance(n, whole) and not isinstance(n, bool) and n >= 0 for n in sizes):
        raise ValueError(f"shape must be non-negative integers, got {shape!r}")
    return tuple(int(n) for n in sizes)


def normals(key: Any, shapes: Mapping[str, Shape], scale: float) -> dict[str, Array]:
    """Independent N(0, scale^2) arrays, in the library that ``key`` belongs to.

    ``key`` is a JAX key, a ``torch.Generator``, a ``numpy.random.Generator`` or an integer seed
    (NumPy arrays). One key gives the same arrays whatever else the caller draws.
    """
    kind = type(key).__module__.partition(".")[0]
    if kind == "torch":
        import torch

        return {
            n: scale * torch.randn(s, generator=key, device=key.device) for n, s in shapes.items()
        }
    if kind in ("jax", "jaxlib"):
        import jax

        keys = jax.random.split(key, max(len(shapes), 1))
        return {
            n: scale * jax.random.normal(k, s)
            for k, (n, s) in zip(keys, shapes.items(), strict=False)
        }
    generator = np.random.default_rng(key)
    return {n: scale * generator.standard_normal(s) for n, s in shapes.items()}
