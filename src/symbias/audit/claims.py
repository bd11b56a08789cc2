"""What a family of architectures says about a checkpoint: its bonds, and why the rest has none."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symbias.audit.headers import CheckpointError, shown
from symbias.symmetry import Bond, ComplexScaling, GeneralLinear, Rescaling

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Claim:
    """A bond of the model.

    ``kind`` is a short name for tables (qk, vo, mlp, ...). ``movable`` says whether balancing may
    act on it; ``note`` what a reader should know about it.
    """

    bond: Bond
    kind: str
    layer: int | None = None
    note: str = ""
    movable: bool = True


@dataclass(frozen=True)
class Stream:
    """A residual stream of ``size`` channels that may turn as a whole.

    ``readers`` are (array, its gain before it or None), with the channels on axis 1; ``writers``
    are (array, axis of the channels).
    """

    size: int
    readers: tuple[tuple[str, str | None], ...]
    writers: tuple[tuple[str, int], ...]
    note: str = ""
    unit_offset: bool = False  # gains are stored less one


@dataclass
class Reading:
    """All that a family found. ``reasons`` maps patterns of array names to why they have no bond;
    the first that matches counts."""

    family: str
    claims: list[Claim] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Model:
    """Names, shapes and config of a checkpoint: all that a family looks at."""

    shapes: dict[str, Shape]
    config: dict[str, Any]

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def matches(self, pattern: str) -> Iterator[re.Match[str]]:
        """Names that match the whole pattern, by layer and then by name."""
        found = [m for m in map(re.compile(pattern).fullmatch, self.shapes) if m]
        yield from sorted(found, key=lambda m: _natural(m.string))

    @property
    def kind(self) -> str:
        """The config's model_type, empty if it has none."""
        value = self.config.get("model_type", "")
        return value if isinstance(value, str) else ""

    def number(self, *keys: str, default: int | None = None) -> int:
        """A positive integer of the config, under the first of these keys."""
        for key in keys:
            value = self.config.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**7:
                raise CheckpointError(f"config: {key} must be a positive integer: {shown(value)}")
            return value
        if default is None:
            raise CheckpointError(
                f"config: {keys[0]} is missing; is there a config.json beside the arrays? "
                "--heads gives the number of attention heads"
            )
        return default

    def fraction(self, *keys: str, default: float) -> float:
        """A number of the config between 0 and 1e6."""
        for key in keys:
            value = self.config.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise CheckpointError(f"config: {key} must be a number: {shown(value)}")
            if not 0 <= value < 10**6:
                raise CheckpointError(f"config: {key} is out of range: {shown(value)}")
            return float(value)
        return default

    def text(self, *keys: str, default: str = "") -> str:
        """A string of the config, under the first of these keys."""
        values = (self.config.get(key) for key in keys)
        return next((v for v in values if isinstance(v, str)), default)

    def ends(self, name: str, axis: int = 0) -> list[tuple[str, int]]:
        """The ends of a linear layer on its output: weight and, if there is one, bias."""
        bias = [(f"{name}.bias", 0)] if f"{name}.bias" in self else []
        return [(f"{name}.weight", axis), *bias]


def _natural(text: str) -> list[Any]:
    return [int(t) if t.isdigit() else t for t in re.split(r"(\d{1,9})", text)]


@dataclass(frozen=True)
class Attention:
    """One attention layer in the (out, in) layout, by the names of its four linear layers.

    ``rotary`` is how many entries of a head are turned by positions, two halves paired.
    """

    q: str
    k: str
    v: str
    o: str
    layer: int
    heads: int
    key_heads: int
    size: int
    rotary: int = 0
    place: str = ""

    def claims(self, model: Model) -> list[Claim]:
        """Its logit and value bonds."""
        return [*self.logits(model), self.values(model)]

    def values(self, model: Model) -> Claim:
        ends = model.ends(self.v), [(f"{self.o}.weight", 1)]
        bond = Bond(
            GeneralLinear(self.size), *ends, heads=self.key_heads, name=self._name("values")
        )
        return Claim(bond, "vo", self.layer)

    def logits(self, model: Model) -> list[Claim]:
        if not self.rotary:  # the key bias cancels in the softmax and stays out
            ends = model.ends(self.q), [(f"{self.k}.weight", 0)]
            gl = GeneralLinear(self.size)
            name = self._name("logits")
            return [Claim(Bond(gl, *ends, heads=self.key_heads, name=name), "qk", self.layer)]
        q, k = model.ends(self.q), model.ends(self.k)
        name = self._name("logits")
        if self.rotary == self.size:
            turn = ComplexScaling(self.size, "half")
            return [Claim(Bond(turn, q, k, heads=self.key_heads, name=name), "qk", self.layer)]
        found = []
        free = self.size - self.rotary
        for group, kind, first, count in (
            (ComplexScaling(self.rotary, "half"), "qk", 0, self.rotary),
            (GeneralLinear(free), "qk free", self.rotary, free),
        ):
            left = [(*end, self._part(self.heads, first, count)) for end in q]
            right = [(*end, self._part(self.key_heads, first, count)) for end in k]
            part = f"{name}, {'turned' if kind == 'qk' else 'unturned'} part"
            bond = Bond(group, left, right, heads=self.key_heads, name=part)
            found.append(Claim(bond, kind, self.layer))
        return found

    def _part(self, heads: int, first: int, count: int) -> Any:
        """Labels of entries ``first ... first + count`` of every head, by key head."""
        labels = np.full((heads, self.size), -1)
        owner = np.arange(heads) // (heads // self.key_heads)
        labels[:, first : first + count] = owner[:, None] * count + np.arange(count)
        return labels.reshape(-1)

    def _name(self, what: str) -> str:
        return f"layer {self.layer} {self.place}{what}"


def hidden(model: Model, layer: int, up: str, down: str, *, signed: bool = False) -> Claim:
    """The units of a hidden layer: rows of ``up``, columns of ``down``."""
    units = model.shapes[f"{up}.weight"][0]
    group = Rescaling(units, signed=signed)
    bond = Bond(group, model.ends(up), [(f"{down}.weight", 1)], name=f"layer {layer} units")
    return Claim(bond, "mlp", layer)


def gain(model: Model, layer: int | None, norm: str, readers: list[str]) -> Claim:
    """A normalisation's gain and shift against the columns of the layers that read it."""
    channels = model.shapes[f"{norm}.weight"][0]
    covectors = [(f"{name}.weight", 1) for name in readers]
    label = f"{norm.rsplit('.', 1)[-1]} gain"
    name = label if layer is None else f"layer {layer} {label}"
    bond = Bond(Rescaling(channels, signed=True), model.ends(norm), covectors, name=name)
    return Claim(bond, "gain", layer, "shares arrays with other bonds", movable=False)


def split_heads(model: Model, name: str, heads: int, share: int = 1) -> int:
    """Size of a head, from the rows of a weight that holds ``share`` parts of all heads."""
    rows = model.shapes[name][0]
    if rows % (heads * share):
        raise CheckpointError(f"array {shown(name)!r}: its {rows} rows are not {heads} heads")
    return rows // (heads * share)
