"""Coupled weight decay: the least norm on the orbit becomes a penalty on the parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from symbias._core.arrays import Array
from symbias._core.numbers import positive
from symbias.mechanisms.base import Induced, Mechanism
from symbias.parameterizations import Parameterization


@dataclass(frozen=True)
class WeightDecay(Mechanism):
    """Coupled L2 decay of the given strength on every factor that is not free.

    Minimising loss(w(theta)) + strength/2 |theta|^2 over the factors is minimising loss(w) +
    penalty(w) over the effective parameter, exactly: for a given w the decay settles at the point
    of least norm on the orbit.

    Parameters
    ----------
    strength : float
        Positive, as ``weight_decay`` of SGD with or without momentum, or strength/2 |theta|^2 in
        the loss. Decoupled decay (AdamW) has another objective, and this does not describe it.
    """

    strength: float

    name: ClassVar[str] = "weight decay"
    status: ClassVar[str] = "exact"
    assumptions: ClassVar[tuple[str, ...]] = (
        "coupled decay: SGD with or without momentum, or strength/2 |theta|^2 in the loss",
        "converged: a minimum of the penalised loss, not a saddle at frozen signs",
        "free coordinates do not decay",
    )
    exactness: ClassVar[str] = "exact for full batches, at every strength and learning rate"

    def __post_init__(self) -> None:
        positive("strength", self.strength)

    @property
    def note(self) -> str:
        return "coupled decay lam of the factors (SGD, momentum, or L2 in the loss)"

    @property
    def scale(self) -> float:
        return float(self.strength)

    def induced(
        self,
        p: Parameterization,
        *,
        inputs: Array | None = None,
        loss: Callable[[Array], Array] | None = None,
    ) -> Induced:
        """strength * 1/2 |balanced theta|^2 over the factors of w that decay.

        Raises
        ------
        Refused
            For a sum of designs, whose value is a minimum over all splits of w: its normal form is
            there all the same (`Parameterization.balanced_form`), and a fit takes it.
        """
        return Induced(
            lambda w: self.strength * p.balanced_norm(w),
            p.shape,
            f"lam {p.norm_formula}",
            lambda: p.balanced_form().scaled(float(self.strength)),
        )

    def penalty(self, p: Parameterization, w: Array) -> Array:
        """``induced(p)(w)``, a scalar, at the cost of one `Parameterization.section`."""
        return self.induced(p)(w)
