"""What a mechanism is: a way of training, and what it makes of a parameterization."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from symbias._core.arrays import Array, Shape, effective
from symbias._core.refusal import Refused
from symbias.parameterizations import Parameterization
from symbias.penalties import Form, Penalty


class Preference(Protocol):
    """What training prefers among effective parameters: call it with w for its cost.

    A `Penalty` adds to the loss, a `Potential` decides among the w that fit, and a `Law` is a
    density, whose cost is -T log density.
    """

    @property
    def formula(self) -> str: ...

    def __call__(self, w: Array) -> Array: ...


class Mechanism(ABC):
    """A way of training.

    Attributes
    ----------
    name, label : str
        Of the mechanism, and of this one of it.
    note : str
        What to know of its preference, in a line.
    status : str
        "exact", "first order", ...
    assumptions : tuple of str
        Under which its preference holds.
    exactness : str
        To which order.
    scale : float
        The factor that a design leaves to the mechanism: ``induced(design(R, mechanism))`` is
        scale * R.
    """

    name: ClassVar[str]
    status: ClassVar[str]
    assumptions: ClassVar[tuple[str, ...]]
    exactness: ClassVar[str]

    @property
    def scale(self) -> float:
        return 1.0

    @property
    def label(self) -> str:
        return self.name

    @property
    def note(self) -> str:
        return self.assumptions[0]

    @abstractmethod
    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Preference:
        """What this training prefers among the w = p(theta), its strength included.

        Parameters
        ----------
        p : Parameterization
        inputs : array, optional
            Of the linear model that is trained, where the preference depends on them; whitened
            ones by default.
        loss : callable, optional
            Of w, where the preference is a law; zero by default.

        Raises
        ------
        Refused
            Where it prefers nothing that can be said on w, with the reason.
        """


@dataclass(frozen=True, eq=False)
class Induced(Penalty):
    """The penalty that a mechanism makes of one parameterization.

    Attributes
    ----------
    value : callable
        R(w), in any array library.
    shape : tuple
        Of w.
    formula : str
    normal : callable, optional
        Its normal form, for solvers in w.
    """

    value: Callable[[Array], Array]
    shape: Shape
    formula: str = ""  # type: ignore[misc]
    normal: Callable[[], Form] | None = None

    belief: ClassVar[str] = "what training prefers"

    def __call__(self, w: Array) -> Array:
        """R(w) of an array or a list; raises ValueError for another shape than `shape`."""
        return self.value(effective(w, self.shape))

    @property
    def couples(self) -> bool:
        return len(self.shape) == 2

    @property
    def convex(self) -> bool:
        """As far as its normal form shows; raises Refused where there is none."""
        return self.form(self.shape).convex

    def form(self, shape: Shape) -> Form:
        if tuple(shape) != self.shape:
            raise ValueError(f"the design has shape {self.shape}, the coefficients {shape}")
        if self.normal is None:
            raise Refused(f"no normal form is known of the penalty {self.formula}")
        return self.normal()
