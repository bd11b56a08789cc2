"""What every parameterization is: a map from factors to an effective parameter."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape, check_dict, concrete, effective, namespace
from symbias._core.refusal import Refused
from symbias.maps import Linear
from symbias.parameterizations.general import (
    balanced,
    can_balance,
    check_section,
    norm_on_orbit,
    numerical_gradients,
    numerical_norm,
    orbits_are_all,
)
from symbias.parameterizations.normal import BoxImage, Core, NormalForm, Products, Scales
from symbias.penalties import Form
from symbias.symmetry import Symmetry


class Parameterization(ABC):
    """A redundant parameterization theta -> w of an effective parameter w.

    Parameters theta are a flat dict of named arrays (NumPy, JAX or PyTorch); `shape` is the shape
    of w, `shapes` those of the factors. Names in `free` are plain parameters that weight decay
    must leave alone, because the penalty does not act on them. `signed` tells whether w of both
    signs are reached.

    `balanced_section` promises that the factors of `_section(w, 0)` have the least norm of all
    factors of w. Without the promise they are balanced over the stated symmetry, and what rests on
    the least norm is found numerically, unless a test shows that those are the least.
    `has_charges` promises that those of `_section(w, charge)` have this charge on every bond.
    `is_identity` says that w is its one factor, entry by entry.

    What others ask of it are methods: a new one needs the four abstract members; each of the other
    answers has a general default (a refusal, or None where the asker then computes numerically),
    which a closed form overrides.
    """

    shape: Shape
    free: frozenset[str] = frozenset()
    balanced_section: bool = False
    signed: bool = True
    has_charges: bool = True
    is_identity: bool = False

    @staticmethod
    def of(fn: Callable[[Params], Array], shapes: Mapping[str, int | Shape]) -> "Parameterization":
        """A parameterization of one's own: w = fn(theta), and nothing else to write.

        Its symmetry is discovered; `section`, balanced norm and what every mechanism makes of it
        come from general routes: numerically, with an error estimate, where there is no closed
        form, and by a closed form only after it has passed a numerical test.

        Parameters
        ----------
        fn : callable
            From a dict of arrays to the effective parameter; it runs on NumPy and JAX arrays (take
            operators, methods and ``.reshape``, the array API, or `jax.numpy`).
        shapes : dict
            Name and shape of every factor.

        Raises
        ------
        TypeError, ValueError
            If fn is no function, fails, is not finite or not real floating-point on random
            factors (float64 for float64; JAX's own precision is set for the call), does not depend
            on them, changes them, gives two values for the same, or others in JAX than in NumPy.

        Examples
        --------
        >>> import symbias as sb
        >>> p = sb.Parameterization.of(lambda t: t["u"] ** 2 - t["v"] ** 2, {"u": 3, "v": 3})
        >>> sb.WeightDecay(1.0).induced(p).formula
        'lam sum 0.5 |w_i|'
        """
        from symbias.parameterizations.own import Own

        return Own(fn, shapes)

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
        check_dict(params)
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
            If ``w`` is not a floating-point array, nor a list of numbers.
        """
        w = effective(w, self.shape)
        if not 0 <= charge < float("inf"):
            raise ValueError(f"charge must be finite and at least 0, got {charge}")
        seen = concrete(w)
        if seen is not None and not np.all(np.isfinite(seen)):
            raise ValueError("w has entries that are not finite")
        found = self._section(w, charge)
        if self.balanced_section:
            return found
        check_section(self, found, w)
        return balanced(self, found) if charge == 0 and can_balance(self.symmetry) else found

    def charged_section(self, w: Array, charge: float) -> dict[str, Array]:
        """`section` with a positive charge, where that determines factors: a start of training.

        Raises
        ------
        Refused
            Where it does not, as for most maps of one's own and whatever holds one.
        """
        if not all(core.design.has_charges for core in self.normal_form().cores):
            raise Refused(
                f"{self!r} holds a map of one's own: init_scale does not determine a start. Give "
                "factors as start={name: array, ...}"
            )
        return self.section(w, charge)

    @cached_property
    def _orbits_are_all(self) -> bool:
        return orbits_are_all(self)

    def balanced_norm(self, w: Array) -> Array:
        """1/2 |balanced theta|^2 over the factors of w that decay, a scalar.

        Without a `balanced_section` it is that of the orbit, where a test at random w shows that
        this is the least over all factors of w; else numerical.

        Raises
        ------
        Refused
            Where it is numerical and traced, or there are too many factors for that.
        """
        w = effective(w, self.shape)
        if not self.balanced_section and self._orbits_are_all:
            return norm_on_orbit(self, self._section(w, 0.0))
        if not self.balanced_section:
            return numerical_norm(self, w)
        found = self.section(w)
        xp = namespace(found)
        total = sum(xp.sum(a * a) for name, a in found.items() if name not in self.free)
        return (total + xp.zeros((), dtype=w.dtype)) / 2

    def balanced_form(self) -> Form:
        """`balanced_norm` as a penalty in normal form: what a solver in w needs of it.

        Raises
        ------
        Refused
            Where it is no sum over sizes behind a linear map.
        """
        raise Refused(f"the balanced norm of {self!r} is not known as a sum over sizes")

    @property
    def norm_formula(self) -> str:
        """`balanced_norm`, to be read."""
        try:
            return " + ".join(piece.formula for piece in self.balanced_form().pieces)
        except Refused:
            return "1/2 |balanced theta|^2"

    @property
    def gradients_formula(self) -> str:
        """`least_gradients`, to be read; S is the mean of x x^T."""
        return "min over the orbit of the mean of |d f_i / d theta|^2"

    @property
    def law_formula(self) -> str:
        """The cost against dw under noise without a component along orbits, to be read."""
        return "T (1/2 log det J J^T - log volume of what is compact of the orbit)"

    def normal_form(self, prefix: str = "") -> NormalForm:
        """The linear outside of the parameterization and its cores; by default itself alone."""
        linear = Linear.identity(int(np.prod(self.shape)))
        return NormalForm(linear, (), (Core(prefix, self),))

    def least_gradients(self, w: Array, inputs: Array) -> Array | None:
        """min over theta of w of sum_i |d <a_i, w(theta)> / d theta|^2, free coordinates left out.

        ``inputs`` are (n, *shape), or (n, rows) for predictions x @ w. In any array library and
        differentiable; None where no closed form is known and the minimum over the orbit of
        `section` is the least. Numerical for what does not promise that (`balanced_section`).

        Raises
        ------
        Refused
            Where the minimum is over several splits of w, which no orbit connects, or it is
            numerical and traced.
        """
        if self.balanced_section:
            return None
        return numerical_gradients(self, w, inputs)

    def box_image(self) -> BoxImage:
        """The w of factors with |theta_i| <= b, of a core: how their largest entry grows with b.

        Raises
        ------
        Refused
            Where it is not known.
        """
        raise Refused(
            f"{self!r}: the w that factors in a box reach are not known. Take w itself "
            "(sb.Plain), sb.Hadamard, sb.GroupProduct or sb.MatrixProduct, of which they are"
        )

    def within_tables(self, w: Array) -> Array:
        """Whether every table that w is read from, as that of a `TabulatedLink`, reaches it."""
        xp = array_namespace(w)
        return xp.ones((), dtype=xp.bool)

    def live(self, w: np.ndarray) -> "Parameterization":
        """The same without inner directions that are empty at w: they cost nothing there."""
        return self

    @property
    def searched(self) -> bool:
        """Whether `section` searches factors of every w numerically, also where JAX traces it."""
        inner = [core.design for core in self.normal_form().cores]
        return any(core.searched for core in inner if core is not self)

    @property
    def scales(self) -> Scales | None:
        """The coordinates as numbers times powers of scales of groups; None if they are not."""
        return None

    def products(self, theta: Mapping[str, np.ndarray]) -> Products | None:
        """The coordinates that are products of numbers, at these factors; None if they are not."""
        return None

    def flat_coordinates(self, w: Array) -> Array:
        """The coordinates of w in the order of `normal_form`, free ones first, flat."""
        return array_namespace(w).reshape(w, (-1,))

    def resized(self, shape: Shape) -> "Parameterization":
        """The same kind of core, of another shape: what cards draw. By default itself."""
        return self

    def cut(self, theta: Params, threshold: float, unit: Array | float = 1.0) -> Array:
        """w(theta) with zeros where its own sizes, times ``unit``, are at most ``threshold``."""
        w = self(theta)
        xp = array_namespace(w)
        return xp.where(xp.abs(w * unit) > threshold, w, xp.zeros_like(w))


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
