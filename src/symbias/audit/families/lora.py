"""LoRA adapters in PEFT's layout: the product B A of two thin matrices."""

from symbias.audit.claims import Claim, Model, Reading
from symbias.symmetry import Bond, GeneralLinear

_PAIR = r"(.*)\.lora_(?:embedding_)?A(\.(?!weight$)[^.]+)?(\.weight)?"


def read(model: Model) -> Reading | None:
    """One ``GeneralLinear(rank)`` bond for each adapted layer, whatever the layer is."""
    found = Reading("LoRA")
    for i, m in enumerate(model.matches(_PAIR)):
        a = m.string
        b = a.replace(".lora_A", ".lora_B").replace(".lora_embedding_A", ".lora_embedding_B")
        if b not in model or len(model.shapes[a]) < 2 or len(model.shapes[b]) < 2:
            found.notes.append(f"{a}: no partner {b}")
            continue
        rank = model.shapes[a][0]
        layer = next((int(part) for part in m[1].split(".") if part.isdigit()), None)
        bond = Bond(GeneralLinear(rank), [(a, 0)], [(b, 1)], name=m[1] + (m[2] or ""))
        kind = m[1].rsplit(".", 1)[-1]
        found.claims.append(Claim(bond, kind if len(kind) < 20 else f"lora {i}", layer))
    if not found.claims:
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
