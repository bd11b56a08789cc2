"""LoRA adapters in PEFT's layout: the product B A of two thin matrices."""

import re

from symbias.audit.claims import Claim, Model, Reading
from symbias.audit.headers import shown
from symbias.symmetry import Bond, GeneralLinear

TITLE, KINDS = "LoRA", None  # of any model
_KNOWN = r"(embedding_)?[AB](\.(?!bias$)[^.]+)?(\.weight)?|magnitude_vector.*|B(\.[^.]+)?\.bias"
_PAIR = r"(.*)\.lora_(?:embedding_)?A(\.(?!weight$)[^.]+)?(\.weight)?"


def read(model: Model) -> Reading | None:
    """One ``GeneralLinear(rank)`` bond for each adapted layer, whatever the layer is."""
    found = Reading(TITLE)
    method = model.config.get("peft_type", "LORA")
    if method != "LORA" and any(model.matches(_PAIR)):
        why = f"adapter_config: peft_type {shown(method)} is not LORA: other bonds than these"
        return Reading(TITLE, notes=[why], reasons=[(".*", why)])
    strange = _strange(model)
    for i, m in enumerate(model.matches(_PAIR)):
        a = m.string
        b = a.replace(".lora_A", ".lora_B").replace(".lora_embedding_A", ".lora_embedding_B")
        if b not in model or len(model.shapes[a]) < 2 or len(model.shapes[b]) < 2:
            found.notes.append(f"{a}: no partner {b}")
            continue
        if m[1] in strange:
            why = f"array {shown(strange[m[1]])!r} acts on the same adapter in a way not known here"
            found.misfits |= {a: why, b: why}
            continue
        rank = model.shapes[a][0]
        layer = next((int(part) for part in m[1].split(".") if part.isdigit()), None)
        bond = Bond(GeneralLinear(rank), [(a, 0)], [(b, 1)], name=m[1] + (m[2] or ""))
        kind = m[1].rsplit(".", 1)[-1]
        found.claims.append(Claim(bond, kind if len(kind) < 20 else f"lora {i}", layer))
    if not found.claims and not found.misfits:
        return None
    found.reasons = [
        (r".*lora_magnitude_vector.*",
         "DoRA's magnitudes: they scale the columns of W + B A after normalising them, which the "
         "gauge of B A does not touch"),
        (r".*lora_B.*bias", "a bias of the adapter, added to the output"),
        (r".*lora_.*", "an adapter matrix without a partner of its shape"),
        (r".*", "trained as a whole beside the adapters"),
    ]  # fmt: skip
    return found


def _strange(model: Model) -> dict[str, str]:
    """Adapted layer to an array between its two matrices that is not known."""
    found = {}
    for name in (*model.shapes, *model.unmeasured):
        layer, lora, rest = name.partition(".lora_")
        if lora and (name in model.unmeasured or not re.fullmatch(_KNOWN, rest)):
            found[layer] = name
    return found
