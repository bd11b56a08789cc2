"""Quantized checkpoints: why their arrays cannot be measured."""

from symbias.checkpoints import shown
from symbias.models.claims import Model

_PARTS = (
    r".*\.(qweight|qzeros|scales|g_idx|weight_scale\w*|input_scale|absmax|quant_map|quant_state\S*)"
)

_BEFORE = "audit the checkpoint from before"
_CAST = (
    "audit the checkpoint from before, or save it once as bfloat16, each weight times its scale "
    "(transformers: from_pretrained with dequantize=True in the quantization_config)"
)


def quantized(model: Model) -> str:
    """What config.json calls the quantization, empty if it asks for none."""
    asked = model.config.get("quantization_config")
    if not asked:
        return ""
    method = asked.get("quant_method") if isinstance(asked, dict) else None
    return shown(method or "a quantized form", 40)


def packed(model: Model) -> list[tuple[str, str]]:
    """Patterns of array names with the reason, where the weights are stored quantized.

    GPTQ and AWQ pack them into integers (``qweight``), with scales beside; FP8 keeps ``weight`` in
    a float8 dtype; bitsandbytes in bytes.
    """
    scheme = quantized(model)
    kinds = {n: d for n, d in model.unmeasured.items() if n.endswith((".qweight", ".weight"))}
    if not kinds:
        return []
    dtype = next(iter(kinds.values()))
    name = next(iter(kinds))
    if not scheme:
        scheme = "GPTQ or AWQ" if name.endswith(".qweight") else dtype
    what = f"quantized ({scheme}): its weights are stored as {dtype}, which is not measured"
    return [
        (_PARTS, f"a part of a quantized weight ({scheme})"),
        (".*", f"{what}; {_CAST if dtype.startswith('F8') else _BEFORE}"),
    ]
