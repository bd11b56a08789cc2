"""LoRA adapters in PEFT's layout: the product B A of two thin matrices."""

import re
from collections.abc import Mapping
from functools import partial

import numpy as np

from symbias.checkpoints import Numpy, shown
from symbias.models.claims import Arrays, Claim, Model, Reading
from symbias.models.families.lora_config import Layout, layout_of, scale_of, taken_from_base
from symbias.symmetry import Bond, EndSpec, GeneralLinear

TITLE, KINDS = "LoRA", None  # of any model
_KNOWN = r"(embedding_)?[AB](\.(?!bias$)[^.]+)?(\.weight)?|magnitude_vector.*|B(\.[^.]+)?\.bias"
_PAIR = r"(.*)\.lora_(?:embedding_)?A(\.(?!weight$)[^.]+)?(\.weight)?"
PROBES = 4
PREFIX = "base_model.model."  # that PEFT puts before the names of the model's own modules


def read(model: Model) -> Reading | None:
    """One ``GeneralLinear(rank)`` bond for each adapted layer, whatever the layer is.

    Experts that are kept in one array have their ranks in one pair: a head for each of them.
    """
    found = Reading(TITLE)
    pairs = list(model.matches(_PAIR))
    layout = layout_of(model.config)
    if not pairs and not (layout.other and "peft_type" in model.config):
        return None
    if layout.other:
        why = f"adapter_config: {layout.other}: only bonds of a product B A are known"
        return Reading(TITLE, notes=[why], reasons=[(".*", why)])
    found.unsure = layout.unknown
    if start := taken_from_base(model.config):
        found.notes.append(
            f"init_lora_weights={start!r} took its first product out of the base weights: what the "
            "adapter changes is B A less that, which is not in the file"
        )
    strange = _strange(model)
    for i, m in enumerate(pairs):
        a = m.string
        b = a.replace(".lora_A", ".lora_B").replace(".lora_embedding_A", ".lora_embedding_B")
        if not found.expects(model, b) or len(model.shapes[a]) < 2 or len(model.shapes[b]) < 2:
            found.notes.append(f"{a}: no partner {b}")
            continue
        if m[1] in strange:
            why = f"array {shown(strange[m[1]])!r} acts on the same adapter in a way not known here"
            found.misfits |= {a: why, b: why}
            continue
        claim = _claim(model, layout, a, b, m[1] + (m[2] or ""), f"lora {i}")
        if isinstance(claim, str):
            found.misfits |= {a: claim, b: claim}
            found.notes.append(f"{a}: {claim}")
        else:
            found.claims.append(claim)
    found.reasons = [
        (r".*lora_magnitude_vector.*",
         "DoRA's magnitudes: they scale the columns of W + B A after normalising them, which the "
         "gauge of B A does not touch"),
        (r".*lora_B.*bias", "a bias of the adapter, added to the output"),
        (r".*lora_.*", "an adapter matrix without a partner of its shape"),
        (r".*", "a weight that is saved as a whole beside the adapters"),
    ]  # fmt: skip
    return found


def _claim(model: Model, layout: Layout, a: str, b: str, name: str, short: str) -> Claim | str:
    """The bond of one pair, or why it has none."""
    rows, columns = model.shapes[a][0], model.shapes[b][1]
    rank, experts = rows, 1
    if rows != columns:
        return f"{rows} rows of A do not meet {columns} columns of B"
    if layout.rank is not None and rows != layout.rank:
        if not layout.experts or rows % layout.rank:
            return f"its {rows} rows are not the rank {layout.rank} of adapter_config"
        rank, experts = layout.rank, rows // layout.rank
    ends: tuple[list[EndSpec], list[EndSpec]] = ([(a, 0)], [(b, 1)])
    if experts > 1:  # A by experts, B by ranks
        ends[1][:] = [(b, 1, np.arange(rows).reshape(experts, rank).T.reshape(-1))]
    bond = Bond(GeneralLinear(rank), *ends, heads=experts if experts > 1 else None, name=name)
    layer = next((int(part) for part in name.split(".") if part.isdigit()), None)
    kind = name.removesuffix(".base_layer").rsplit(".", 1)[-1]
    witness = partial(update, a, b, experts)
    return Claim(bond, kind if len(kind) < 20 else short, layer, witness=witness, thin=True)


def module_of(claim: Claim) -> str:
    """The name of an adapted module in the model itself."""
    return claim.bond.name.removeprefix(PREFIX)


def may_be_truncated(config: Mapping[str, object], module: str) -> bool:
    """Whether a layer may be stored at a rank of its own: its product is all that it adds."""
    alone = not config.get("target_parameters") and not taken_from_base(config)
    return alone and bool(scale_of(config, module, 1)) and not layout_of(config).unknown


def update(a: str, b: str, experts: int, arrays: Arrays) -> tuple[Numpy, float]:
    """What the adapter adds to the layer's output for some inputs, and the size of its terms.

    As PEFT computes it, and not by a bond: ``B (A x)``, of experts in one array
    ``einsum("ore,eri->eoi", B, A) x``. In closed form for kernels too, whose places are inputs.
    """
    first, second = arrays[a].reshape(len(arrays[a]), -1), arrays[b]
    second = second.reshape(*second.shape[:2], -1)
    x = np.random.default_rng(0).standard_normal((first.shape[1], PROBES))
    inner = (first @ x).reshape(experts, -1, PROBES)
    outer = second.reshape(len(second), -1, experts, second.shape[2])
    size = float(np.linalg.norm(first) * np.linalg.norm(second) * np.linalg.norm(x))
    return np.einsum("orek,erp->eokp", outer, inner), size


def _strange(model: Model) -> dict[str, str]:
    """Adapted layer to an array between its two matrices that is not known."""
    found = {}
    for name in (*model.shapes, *model.unmeasured):
        layer, lora, rest = name.partition(".lora_")
        if lora and (name in model.unmeasured or not re.fullmatch(_KNOWN, rest)):
            found[layer] = name
    return found
