"""Attention layers, packed or not, rotary or not, with shared key heads or without."""

from dataclasses import dataclass

import numpy as np

from symbias.checkpoints import Numpy
from symbias.models.claims import Claim, Model
from symbias.symmetry import Bond, ComplexScaling, EndSpec, GeneralLinear
from symbias.symmetry.groups import Group


@dataclass(frozen=True)
class Part:
    """The entries of a linear layer's output that hold the queries, keys or values.

    ``index`` picks them, in the order of heads, where the layer is packed with others; ``axis`` is
    the output's axis of the weight: 0 for Linear, 1 for Conv1D.
    """

    name: str
    axis: int = 0
    index: Numpy | None = None

    def ends(
        self, model: Model, labels: Numpy | None = None, *, bias: bool = True
    ) -> list[EndSpec]:
        """Ends on the weight and the bias, with ``labels`` for the entries picked."""
        found = model.ends(self.name, self.axis)[: 2 if bias else 1]
        if self.index is None:
            return found if labels is None else [(*end, labels) for end in found]
        full = np.full(model.shapes[f"{self.name}.weight"][self.axis], -1)
        full[self.index] = labels
        return [(*end, full) for end in found]


@dataclass(frozen=True)
class Attention:
    """One attention layer, by the parts of its linear layers.

    ``rotary`` is how many entries of a head are turned by positions, two halves paired; ``o`` is
    the name of the output layer, ``o_axis`` the input's axis of its weight.
    """

    q: Part
    k: Part
    v: Part
    o: str
    layer: int
    heads: int
    key_heads: int
    size: int
    rotary: int = 0
    o_axis: int = 1
    place: str = ""

    def claims(self, model: Model) -> list[Claim]:
        """Its logit and value bonds."""
        return [*self.logits(model), self.values(model)]

    def values(self, model: Model) -> Claim:
        """``W_V, b_V`` against ``W_O``."""
        vectors = self.v.ends(model, self._labels(self.v, self.key_heads))
        covectors: list[EndSpec] = [(f"{self.o}.weight", self.o_axis)]
        return self._claim("vo", "values", GeneralLinear(self.size), vectors, covectors)

    def logits(self, model: Model) -> list[Claim]:
        """``W_Q, b_Q`` against ``W_K``. Without rotary positions the key bias cancels in the
        softmax and stays out; with them it turns with the keys."""
        parts: list[tuple[str, Group]] = []
        if self.rotary:
            parts.append(("qk", ComplexScaling(self.rotary, "half")))
        if self.rotary < self.size:
            rest = GeneralLinear(self.size - self.rotary)
            parts.append(("qk free" if self.rotary else "qk", rest))
        found, first = [], 0
        for kind, group in parts:
            whole = group.size == self.size
            left, right = (
                side.ends(
                    model,
                    self._labels(side, heads) if whole else self._slice(heads, first, group.size),
                    bias=side is self.q or bool(self.rotary),
                )
                for side, heads in ((self.q, self.heads), (self.k, self.key_heads))
            )
            what = "logits" if whole else f"logits, {'turned' if kind == 'qk' else 'unturned'} part"
            found.append(self._claim(kind, what, group, left, right))
            first += group.size
        return found

    def _claim(
        self, kind: str, what: str, group: Group, left: list[EndSpec], right: list[EndSpec]
    ) -> Claim:
        name = f"layer {self.layer} {self.place}{what}"
        return Claim(Bond(group, left, right, heads=self.key_heads, name=name), kind, self.layer)

    def _labels(self, part: Part, heads: int) -> Numpy | None:
        return None if part.index is None else self._slice(heads, 0, self.size)

    def _slice(self, heads: int, first: int, count: int) -> Numpy:
        """Labels of entries ``first ... first + count`` of every head, by the key head it reads."""
        labels = np.full((heads, self.size), -1)
        owner = np.arange(heads) // (heads // self.key_heads)
        labels[:, first : first + count] = owner[:, None] * count + np.arange(count)
        return labels.reshape(-1)
