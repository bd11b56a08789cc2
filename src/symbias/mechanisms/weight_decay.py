"""Coupled weight decay: the least norm on the orbit becomes a penalty on the parameter."""

from dataclasses import dataclass
from typing import ClassVar

from symbias._core.arrays import Array, namespace
from symbias._core.numbers import positive
from symbias.parameterizations import Parameterization


@dataclass(frozen=True)
class WeightDecay:
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

    assumptions: ClassVar[tuple[str, ...]] = (
        "coupled decay: SGD with or without momentum, or strength/2 |theta|^2 in the loss",
        "converged: a minimum of the penalised loss, not a saddle at frozen signs",
        "free coordinates do not decay",
    )
    exactness: ClassVar[str] = "exact for full batches, at every strength and learning rate"

    def __post_init__(self) -> None:
        positive("strength", self.strength)

    def penalty(self, p: Parameterization, w: Array) -> Array:
        """strength * 1/2 |balanced theta|^2 over the factors of ``w`` that decay; a scalar.

        Computed from `Parameterization.section`, at the cost of one.

        Raises
        ------
        ValueError
            For a sum of designs, whose penalty is a minimum over all splits of w.
        """
        if not p.balanced_section:
            raise ValueError(f"{p!r}: the penalty is a minimum over all splits, no closed form")
        balanced = p.section(w)
        xp = namespace(balanced)
        total = sum(xp.sum(a * a) for name, a in balanced.items() if name not in p.free)
        return self.strength / 2 * (total + xp.zeros((), dtype=w.dtype))
