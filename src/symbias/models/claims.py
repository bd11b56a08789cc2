"""What a family of architectures says about a checkpoint: its bonds, and why the rest has none."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from symbias.checkpoints import CheckpointError, Numpy, Source, shown
from symbias.symmetry import Bond, EndSpec, Rescaling

Shape = tuple[int, ...]
Arrays = Mapping[str, Numpy]


@dataclass(frozen=True)
class Claim:
    """A bond of the model.

    ``kind`` is a short name for tables (qk, vo, mlp, ...). ``movable`` says whether balancing may
    act on it; ``note`` what a reader should know about it. ``variance`` names the array of running
    variances that a normalisation with ``eps`` adds to. ``witness`` computes from the arrays what
    the layer makes of some inputs, knowing nothing of the bond, and how large its terms are.
    ``thin`` says that only the product of its two sides is ever used, as of an adapter, so that
    they may be stored at another rank.
    """

    bond: Bond
    kind: str
    layer: int | None = None
    note: str = ""
    movable: bool = True
    variance: str = ""
    eps: float = 0.0
    witness: Callable[[Arrays], tuple[Numpy, float]] | None = None
    thin: bool = False


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
    """All that a family found.

    ``reasons`` maps patterns of array names to why they have no bond; the first that matches
    counts. ``misfits`` does so for names, before all patterns. ``scopes`` maps modules to a pattern
    of what is known inside them: anything else there, and no bond of the module is claimed;
    ``blocks`` does so for what must know every reader of a stream: gains and streams. ``missing``
    maps names that the family expects, and the file lacks, to why. ``guess`` says that nothing but
    array names tells the family; ``unsure`` why no copy may rest on these claims, whatever the
    user says the family is.
    """

    family: str
    claims: list[Claim] = field(default_factory=list)
    reasons: list[tuple[str, str]] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    misfits: dict[str, str] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    guess: bool = False
    unsure: str = ""

    def expects(self, model: "Model", *names: str) -> bool:
        """Whether all these arrays are there and hold something; those that are not are noted."""
        lost = [name for name in names if name not in model and name not in model.unmeasured]
        why = f"not in the file: the family {self.family} expects it"
        self.missing |= dict.fromkeys(lost, why)
        return all(name in model and 0 not in model.shapes[name] for name in names)


@dataclass(frozen=True)
class Model:
    """Names, shapes and config of a checkpoint: all that a family looks at.

    ``unmeasured`` maps names of arrays whose dtype is not a floating one that can be measured to
    that dtype.
    """

    shapes: dict[str, Shape]
    config: Mapping[str, object]
    unmeasured: Mapping[str, str] = field(default_factory=dict)
    scaled: Mapping[str, str] = field(default_factory=dict)

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

    @property
    def architecture(self) -> str:
        """The class that the config names first, empty if it names none."""
        value = self.config.get("architectures") or [""]
        if not isinstance(value, list) or not isinstance(value[0], str):
            raise CheckpointError("config: architectures must be a list of names")
        return value[0]

    @property
    def pruned(self) -> set[int]:
        """Layers that have lost heads, by the config."""
        value = self.config.get("pruned_heads") or {}
        try:
            if isinstance(value, dict):
                return {int(layer) for layer, heads in value.items() if heads}
        except (TypeError, ValueError):
            pass
        raise CheckpointError("config: pruned_heads must map layers to heads")

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

    def flag(self, key: str, *, default: bool) -> bool:
        """A truth value of the config."""
        value = self.config.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise CheckpointError(f"config: {key} must be true or false: {shown(value)}")
        return value

    def text(self, *keys: str, default: str = "") -> str:
        """A string of the config, under the first of these keys."""
        values = (self.config.get(key) for key in keys)
        return next((v for v in values if isinstance(v, str)), default)

    def ends(self, name: str, axis: int = 0) -> list[EndSpec]:
        """The ends of a linear layer on its output: weight and, if there is one, bias."""
        bias: list[EndSpec] = [(f"{name}.bias", 0)] if f"{name}.bias" in self else []
        return [(f"{name}.weight", axis), *bias]


def model_of(source: Source, config: Mapping[str, object] | None = None) -> Model:
    """What a family may look at; ``config`` in place of the source's own."""
    unmeasured = {name: e.dtype for name, e in source.entries.items() if not e.floating}
    scaled = {name: source.entries[name].dtype for name in source.parts.values()}
    return Model(source.shapes, source.config if config is None else config, unmeasured, scaled)


def _natural(text: str) -> list[str | int]:
    return [int(t) if t.isdigit() else t for t in re.split(r"(\d{1,9})", text)]


def hidden(
    model: Model,
    found: Reading,
    layer: int,
    up: str,
    down: str,
    *,
    axis: int = 0,
    signed: bool = False,
    place: str = "",
) -> None:
    """Claim the units of a hidden layer: rows of ``up``, columns of ``down`` (``axis=1``: the
    other)."""
    if not found.expects(model, f"{up}.weight", f"{down}.weight"):
        return
    units = model.shapes[f"{up}.weight"][axis]
    group = Rescaling(units, signed=signed)
    covectors = [(f"{down}.weight", 1 - axis)]
    bond = Bond(group, model.ends(up, axis), covectors, name=f"layer {layer} {place}units")
    found.claims.append(Claim(bond, "mlp", layer))


def gain(
    model: Model,
    found: Reading,
    layer: int | None,
    norm: str,
    readers: list[str],
    *,
    axis: int = 1,
) -> None:
    """Claim a normalisation's gain and shift against the columns of the layers that read it."""
    if not found.expects(model, f"{norm}.weight", *(f"{name}.weight" for name in readers)):
        return
    channels = model.shapes[f"{norm}.weight"][0]
    covectors = [(f"{name}.weight", axis) for name in readers]
    label = f"{norm.rsplit('.', 1)[-1]} gain"
    name = label if layer is None else f"layer {layer} {label}"
    bond = Bond(Rescaling(channels, signed=True), model.ends(norm), covectors, name=name)
    note = "shares arrays with other bonds"
    found.claims.append(Claim(bond, "gain", layer, note, movable=False))


def split_heads(model: Model, name: str, heads: int, share: int = 1) -> int:
    """Size of a head, from the rows of a weight that holds ``share`` parts of all heads."""
    rows = model.shapes[name][0]
    if rows % (heads * share):
        raise CheckpointError(f"array {shown(name)!r}: its {rows} rows are not {heads} heads")
    return rows // (heads * share)
