"""A bond confirmed on the function of a model: random elements, near and far, must not move it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from symbias.symmetry import Bond, Symmetry, act, random_element

NEAR, FAR = 0.1, 1.0  # scales of random elements
TOLERANCE = 1e-10  # of the output, in float64


class Function:
    """The outputs of a module at fixed inputs, as a function of its arrays."""

    def __init__(self, module: Any, run: Any) -> None:
        import torch

        self.module, self.run = module, run
        self.arrays = {name: p.detach() for name, p in module.named_parameters()}
        with torch.no_grad():
            self.here = self.outputs()
        self.size = float(self.here.abs().max())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(a.shape) for name, a in self.arrays.items()}

    def outputs(self) -> Any:
        """The outputs at the module's arrays as they are."""
        return self.run(self.module)

    def change(self, moved: Mapping[str, Any]) -> float:
        """By how much the output changes, relative to its largest entry."""
        import torch

        kept = {name: self.arrays[name].clone() for name in moved}
        params = dict(self.module.named_parameters())
        try:
            with torch.no_grad():
                for name, value in moved.items():
                    params[name].copy_(value)
                there = self.outputs()
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    params[name].copy_(value)
        return self.distance(there)

    def distance(self, there: Any) -> float:
        """Between other outputs and those at the module's arrays."""
        off = float((there - self.here).abs().max())
        return off / self.size if off == off else float("inf")

    def change_by(self, bonds: Sequence[Bond], scale: float, seed: int = 0) -> float:
        """The change under a random element of all these bonds at once."""
        symmetry = numbered(bonds)
        arrays = {name: self.arrays[name] for name in symmetry.arrays}
        return self.change(act(symmetry, random_element(symmetry, seed, scale), arrays))

    def keeps(self, bonds: Sequence[Bond]) -> bool:
        """Whether bonds fit the arrays, and elements near and far leave the output where it is."""
        try:
            numbered(bonds).check(self.arrays)
        except ValueError:
            return False
        return all(self.change_by(bonds, s, k) <= TOLERANCE for k, s in enumerate((NEAR, FAR)))


def numbered(bonds: Sequence[Bond]) -> Symmetry:
    """Different bonds of the same arrays have the same name."""
    return Symmetry([replace(bond, name=str(k)) for k, bond in enumerate(bonds)])
