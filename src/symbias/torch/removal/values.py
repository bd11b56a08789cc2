"""What is known of a tensor while a network runs: units along its axes, and what is constant."""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from symbias.torch.removal.atoms import Labels


@dataclass(eq=False)
class Value:
    """One tensor of the run.

    Attributes
    ----------
    tensor : Tensor
    axes : list
        Labels of every axis.
    constant : dict
        For an axis with labels: the positions whose values do not depend on the input.
    fixed : bool
        Whether nothing in it depends on the input: a parameter, or made of parameters alone.
    origin : Tensor, optional
        The parameter of which it is a view.
    maker : Tensor, optional
        The weight of the layer that made it, and nothing else.
    lost : str
        The operation behind which units could not be followed, if any.
    """

    tensor: Tensor
    axes: list[Labels]
    constant: dict[int, np.ndarray] = field(default_factory=dict)
    fixed: bool = False
    origin: Tensor | None = None
    maker: Tensor | None = None
    lost: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def steady(self, axis: int) -> np.ndarray:
        """Positions along an axis whose values do not depend on the input."""
        size = self.shape[axis]
        if self.fixed:
            return np.ones(size, dtype=bool)
        return self.constant.get(axis, np.zeros(size, dtype=bool))

    def zero(self, axis: int) -> np.ndarray:
        """Positions along an axis at which every value is zero."""
        others = [k for k in range(self.tensor.ndim) if k != axis]
        nonzero = self.tensor != 0
        return (~(nonzero.any(dim=others) if others else nonzero)).cpu().numpy()


@dataclass(eq=False)
class Reading:
    """A contraction of ``values`` along ``along`` with ``weight`` along ``axis``.

    ``bias`` is added to it. ``uneven``: a constant value does not make a constant output, as where
    zeros are padded.
    """

    weight: Value
    axis: int
    values: Value
    along: int
    uneven: bool = False
    bias: Tensor | None = None
