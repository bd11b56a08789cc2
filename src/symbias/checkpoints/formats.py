"""What other formats of weights are called, and how to make safetensors of them."""

from pathlib import Path

from symbias.checkpoints.headers import shown

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OTHERS = {
    ".gguf": "GGUF", ".h5": "Keras", ".keras": "Keras", ".onnx": "ONNX", ".msgpack": "Flax",
    ".npz": "NumPy",
}  # fmt: skip
_STARTS = {b"GGUF": ".gguf", b"PK\x03\x04": ".pt", b"\x80\x02": ".pt", b"\x89HDF": ".h5"}
_CONVERT = (
    'python -c "import torch, safetensors.torch as s; s.save_file({{k: v.clone() for k, v in '
    "torch.load('{0}', weights_only=True).items()}}, '{1}')\""
)


def advice_on(path: Path) -> str:
    """What to do with a file that is no safetensors file; empty if it is of no known format."""
    kind = _kind(path)
    if kind in _PICKLES:
        convert = _CONVERT.format(shown(path), shown(path.with_suffix(".safetensors")))
        return f"a pickle, which runs code when it is read; convert it once: {convert}"
    if kind in _OTHERS:
        return (
            f"{_OTHERS[kind]} weights are not read; save the model that they were made from as "
            "safetensors (transformers: model.save_pretrained)"
        )
    return ""


def _kind(path: Path) -> str:
    """The suffix of a known format, by the first bytes where the name has none."""
    suffix = path.suffix.lower()
    if suffix in _PICKLES or suffix in _OTHERS:
        return suffix
    try:
        with path.open("rb") as stream:
            first = stream.read(4)
    except OSError:
        return ""
    return next((kind for start, kind in _STARTS.items() if first.startswith(start)), "")


def what_is_there(folder: Path) -> str:
    """Why a folder without a safetensors file has none, as far as its contents tell."""
    adapters = sorted(p.parent.name for p in folder.glob("*/adapter_model.safetensors"))
    if adapters:
        listed = shown(", ".join(adapters[:5])) + (", ..." if len(adapters) > 5 else "")
        return f"holds {len(adapters)} adapters in folders of their own ({listed}): give one"
    inside = sorted(p.parent.name for p in folder.glob("*/model*.safetensors"))
    if inside:
        return f"no safetensors file; there is one in {shown(inside[0])}: give that folder"
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        if advice := advice_on(file):
            return f"no safetensors file; {shown(file.name)} is {_a(advice)}"
    return "no safetensors file"


def _a(advice: str) -> str:
    return advice if advice.startswith("a ") else f"of another format: {advice}"
