"""ResNets with BatchNorm and ReLU, in the names of torchvision and of transformers.

Three kinds of bonds: a convolution before a norm has a scale of its own for every channel; the
norm's gain and shift meet the next convolution through a ReLU; and the channels of a whole stage,
added up by the skip connections, share one scale each.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from symbias.checkpoints import shown
from symbias.models.claims import Claim, Model, Reading
from symbias.symmetry import Bond, Rescaling

TITLE, KINDS = "ResNet", ("resnet",)
EPS = 1e-5
_STAGES = (
    r"(.*?)layer(\d)\.(\d{1,4})\.conv1\.weight",
    r"(.*?)encoder\.stages\.(\d)\.layers\.(\d{1,4})\.layer\.0\.convolution\.weight",
)


@dataclass(frozen=True)
class Unit:
    """A convolution and the norm after it."""

    conv: str
    norm: str


def read(model: Model) -> Reading | None:
    """Bonds of every convolution, every block and every stage."""
    for huge, pattern in enumerate(_STAGES):
        blocks = [(m[1], int(m[2]), int(m[3])) for m in model.matches(pattern)]
        if blocks and model.kind in ("", *KINDS):
            return _read(model, blocks, bool(huge))
    return None


def _read(model: Model, blocks: list[tuple[str, int, int]], hugging: bool) -> Reading | None:
    stem, chains = _units(model, blocks, hugging)
    if model.text("hidden_act", default="relu") != "relu":
        return None
    found, kind = Reading(TITLE), model.architecture
    inner = not kind or kind.endswith(("ForImageClassification", "Model"))  # stages are not output
    units = [stem, *(u for chain, skip in chains.values() for u in [*chain, skip] if u)]
    known = {name for unit in units for name in (unit.conv, unit.norm)} | {"fc", "classifier.1"}
    strange = [name for name in model.shapes if name.rsplit(".", 1)[0] not in known]
    parts = [f"{name}.weight" for unit in units for name in (unit.conv, unit.norm)]
    whole = found.expects(model, *parts, *(f"{unit.norm}.running_var" for unit in units))
    if strange or not whole:  # squeeze and excitation, deeper stems, ...
        lost = f"array {shown(strange[0])!r} is not known" if strange else "some of it is missing"
        found.reasons = [(".*", f"{lost}: other bonds than those of a ResNet may hold")]
        found.notes.append(found.reasons[0][1])
        return found
    found.claims += [_scale(model, unit) for unit in units]
    for (stage, block), (chain, _) in chains.items():
        for i, (first, second) in enumerate(pairwise(chain)):
            found.claims.append(_channel(model, stage, f"block {block} channels {i}", [first],
                                         [second.conv]))  # fmt: skip
    writers, readers = [stem], []
    stages = sorted({stage for stage, _ in chains})
    for stage in stages:
        for (s, _), (chain, skip) in sorted(chains.items()):
            if s != stage:
                continue
            readers.append(chain[0].conv)
            if skip is not None:  # the channels so far end here, new ones begin
                readers.append(skip.conv)
                name = "stem channels" if stage == stages[0] else "stage channels"
                place = stage if stage == stages[0] else stage - 1
                if inner:
                    found.claims.append(_channel(model, place, name, writers, readers))
                writers, readers = [skip], []
            writers.append(chain[-1])
    head = next((n for n in ("fc", "classifier.1") if f"{n}.weight" in model), None)
    if head is not None and inner and not kind.endswith("Model"):
        claim = _channel(model, stages[-1], "stage channels", writers, [*readers, head])
        found.claims.append(claim)
    found.notes.append(
        f"scales of convolutions before a norm hold at eps = 0 only; their running means and "
        f"variances move along (eps taken as {EPS:g}, as both libraries have it)"
    )
    found.reasons = [
        (r".*running_(mean|var)", "a statistic of the data, not a parameter"),
        (r".*num_batches_tracked", "a counter"),
        (r"(fc|classifier\.1)\.bias", "the output is read as it is"),
        *([] if inner else [(r".*", f"the stages of a {shown(kind)} are its output")]),
        (r".*", "the layout of this network is not known well enough"),
    ]
    return found


def _units(
    model: Model, blocks: list[tuple[str, int, int]], hugging: bool
) -> tuple[Unit, dict[tuple[int, int], tuple[list[Unit], Unit | None]]]:
    """The stem, and for each block its chain of convolutions and the one of its skip."""
    root = blocks[0][0]
    chains: dict[tuple[int, int], tuple[list[Unit], Unit | None]] = {}
    if hugging:
        stem = Unit(
            f"{root}embedder.embedder.convolution", f"{root}embedder.embedder.normalization"
        )
        for _, stage, block in blocks:
            base = f"{root}encoder.stages.{stage}.layers.{block}"
            pairs = [(f"{base}.layer.{i}.convolution", f"{base}.layer.{i}.normalization")
                     for i in range(3)]  # fmt: skip
            skip = f"{base}.shortcut.convolution", f"{base}.shortcut.normalization"
            chains[stage, block] = _present(model, pairs, skip)
    else:
        stem = Unit(f"{root}conv1", f"{root}bn1")
        for _, stage, block in blocks:
            base = f"{root}layer{stage}.{block}"
            pairs = [(f"{base}.conv{i}", f"{base}.bn{i}") for i in (1, 2, 3)]
            skip = f"{base}.downsample.0", f"{base}.downsample.1"
            chains[stage, block] = _present(model, pairs, skip)
    return stem, chains


def _present(
    model: Model, pairs: list[tuple[str, str]], skip: tuple[str, str]
) -> tuple[list[Unit], Unit | None]:
    """What is there of a block, in part at least."""
    chain, way = (
        [Unit(*pair) for pair in some if any(f"{name}.weight" in model for name in pair)]
        for some in (pairs, [skip])
    )
    return chain, way[0] if way else None


def _scale(model: Model, unit: Unit) -> Claim:
    """Rows of a convolution, before a norm that divides by their size."""
    channels = model.shapes[f"{unit.conv}.weight"][0]
    name = f"{unit.conv} scale"
    bond = Bond(Rescaling(channels), model.ends(unit.conv), name=name)
    variance = f"{unit.norm}.running_var"
    layer = _layer(unit.conv)
    return Claim(bond, "before norm", layer, movable=False, variance=variance, eps=EPS)


def _channel(model: Model, layer: int, what: str, units: list[Unit], readers: list[str]) -> Claim:
    """Gains and shifts of norms against the inputs of the convolutions that read them."""
    channels = model.shapes[f"{units[0].norm}.weight"][0]
    vectors = [end for unit in units for end in model.ends(unit.norm)]
    covectors = [(f"{name}.weight", 1) for name in readers]
    bond = Bond(Rescaling(channels), vectors, covectors, name=f"layer {layer} {what}")
    return Claim(bond, "channels", layer)


def _layer(name: str) -> int | None:
    found = re.search(r"(?:layer|stages\.)(\d)", name)
    return int(found[1]) if found else None
