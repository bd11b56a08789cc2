"""Quantized checkpoints: which arrays are measured, and why the others cannot be."""

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


# methods whose weights are the stored numbers times their scales
_SCALED = ("fp8", "fbgemm_fp8", "mxfp4", "compressed-tensors", "modelopt")


def quantized(model: Model) -> str:
    """What config.json calls the quantization, empty if it asks for none, or all is measured."""
    asked = model.config.get("quantization_config")
    if not asked:
        return ""
    method = asked.get("quant_method") if isinstance(asked, dict) else None
    if model.scaled and method in _SCALED:
        return ""
    return shown(method or "a quantized form", 40)


def times_scale(model: Model) -> str:
    """What is said of weights that are measured times their scales."""
    kinds = ", ".join(sorted({"MXFP4" if d == "F4" else d for d in model.scaled.values()}))
    return f"weights stored as {kinds} are measured as the numbers they stand for, times scales"


def packed(model: Model) -> list[tuple[str, str]]:
    """Patterns of array names with the reason, where the weights are stored quantized.

    GPTQ and AWQ pack them into integers (``qweight``), with scales beside; bitsandbytes into bytes;
    FP8 keeps ``weight`` in a float8 dtype, which is measured where its scales are understood.
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
