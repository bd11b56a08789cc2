"""Llama and its kin: rotary positions, shared key heads, SwiGLU, RMSNorm, QK-norm, experts."""

import numpy as np

from symbias.audit.attention import Attention, Part
from symbias.audit.claims import Claim, Model, Reading, Stream, gain, split_heads
from symbias.audit.headers import CheckpointError
from symbias.symmetry import Bond, Rescaling, UniformScale

KINDS = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "mixtral")
TITLE = "Llama"
PARTIAL = ("phi3",)  # turn a part of each head only, if the config says so; others never do
_KNOWN = r"([qkvo]|qkv)_proj\.(weight|bias)|rotary_emb\.inv_freq"
WIDEST = 20_000  # channels of a residual stream
OFFSET = ("gemma", "gemma2")  # gains stored less one
_LAYER = r"((.*\blayers\.(\d{1,6}))\.self_attn)\.(q_proj|qkv_proj)\.weight"
_EXPERT = r"(.*\blayers\.(\d{1,6})\.block_sparse_moe\.experts\.(\d{1,6}))\.w1\.weight"


def read(model: Model) -> Reading | None:
    """Attention, hidden units and gains of every layer, and the residual stream."""
    layers = [(m[1], m[2], int(m[3])) for m in model.matches(_LAYER)]
    if not layers or model.kind not in ("", *KINDS):
        return None
    if model.kind == "" and f"{layers[0][0]}.o_proj.weight" not in model:
        return None
    found = Reading(TITLE)
    for base, block, layer in layers:
        readers = _attention(model, found, base, layer)
        norm = f"{block}.input_layernorm"
        if model.kind not in OFFSET and f"{norm}.weight" in model:
            found.claims.append(gain(model, layer, norm, readers))
        readers = _units(model, found, block, layer)
        before = "pre_feedforward" if model.kind == "gemma2" else "post_attention"
        norm = f"{block}.{before}_layernorm"
        if model.kind not in OFFSET and readers and f"{norm}.weight" in model:
            found.claims.append(gain(model, layer, norm, readers))
    last = f"{layers[0][1].rsplit('layers.', 1)[0]}norm"
    if model.kind not in OFFSET and "lm_head.weight" in model and f"{last}.weight" in model:
        found.claims.append(gain(model, None, last, ["lm_head"]))
    if model.kind == "gemma2":
        found.notes.append(
            "residual stream: norms after each block have gains of their own, which cannot be "
            "absorbed: no rotation"
        )
    else:
        _stream(model, found, layers)
    found.reasons = [
        (r".*rotary_emb\..*", "a table of positions, not a parameter"),
        (r".*gate_proj\.(weight|bias)|.*\.w1\.weight", "its output passes SiLU or GELU, which is "
         "not homogeneous; it belongs to the residual stream only"),
        (r".*[qk]_norm\.weight", "its entries share a bond only where rotary planes pair them"),
        (r".*norm\.weight", "stored less one, so no scale acts on it"
         if model.kind in OFFSET else "its reader is the embedding, which writes as well"),
        (r".*", "belongs to the residual stream only"),
    ]  # fmt: skip
    return found


def _attention(model: Model, found: Reading, base: str, layer: int) -> list[str]:
    heads = model.number("num_attention_heads")
    packed = f"{base}.qkv_proj"
    shared = _key_heads(model, base, heads)
    if f"{packed}.weight" in model:
        size = split_heads(model, f"{packed}.weight", heads + 2 * shared)
        edges = np.cumsum([0, heads * size, shared * size, shared * size])
        q, k, v = (Part(packed, 0, np.arange(*edges[i : i + 2])) for i in range(3))
        readers = [packed]
    else:
        readers = [f"{base}.{part}_proj" for part in "qkv"]
        size = split_heads(model, f"{readers[0]}.weight", heads)
        q, k, v = map(Part, readers)
    normed = model.kind in ("", "qwen3") and all(
        model.shapes.get(f"{base}.{p}_norm.weight") == (size,) for p in "qk"
    )
    found.scopes[base] = _KNOWN + (r"|[qk]_norm\.weight" if normed else "")
    turned = turned_entries(model, size)
    out = f"{base}.o_proj"
    attention = Attention(q, k, v, out, layer, heads, shared, size, turned)
    if turned < size and model.kind not in PARTIAL:
        why = f"partial_rotary_factor is set, which transformers' {model.kind or 'llama'} ignores: "
        why += "how much of a head turns is not known, so the logits have no bond"
        if why not in found.notes:
            found.notes.append(why)
        names = [f"{p.name}.{end}" for p in (q, k) for end in ("weight", "bias")]
        found.misfits |= dict.fromkeys(names, why)
    elif normed:
        found.claims += _normed(model, base, layer, heads, shared, size, turned)
    else:
        found.claims += attention.logits(model)
    found.claims.append(attention.values(model))
    return readers


def _key_heads(model: Model, base: str, heads: int) -> int:
    """Key heads: what the config says, or else what the arrays' sizes do."""
    default = heads
    if f"{base}.k_proj.weight" in model:
        size = split_heads(model, f"{base}.q_proj.weight", heads)
        default = max(1, model.shapes[f"{base}.k_proj.weight"][0] // size)
    shared = model.number("num_key_value_heads", default=default)
    if heads % shared:
        raise CheckpointError(f"config: {heads} heads cannot share {shared} key heads")
    return shared


def turned_entries(model: Model, size: int, *keys: str, default: float = 1.0) -> int:
    """Entries of a head that rotary positions turn."""
    places = [model.config, model.config.get("rope_parameters"), model.config.get("rope_scaling")]
    nested = Model({}, {k: v for p in places if isinstance(p, dict) for k, v in p.items()})
    turned = int(size * nested.fraction("partial_rotary_factor", *keys, default=default))
    if turned % 2 or turned > size:
        raise CheckpointError(f"config: {turned} of {size} entries of a head cannot be turned")
    return turned


def _normed(
    model: Model, base: str, layer: int, heads: int, shared: int, size: int, turned: int
) -> list[Claim]:
    """QK-norm: each head's queries and keys have a scale of their own, and the two gains one for
    each plane."""
    eps = model.fraction("rms_norm_eps", default=1e-6)
    found: list[Claim] = []
    for part, count in (("q", heads), ("k", shared)):
        name = f"layer {layer} {part} scale"
        bond = Bond(UniformScale(), model.ends(f"{base}.{part}_proj"), heads=count, name=name)
        note = (
            f"exact at eps = 0 only: a unit of log scale changes the normalised head by {eps:g} "
            "over the mean square of its entries"
        )
        found.append(Claim(bond, f"{part}-norm scale", layer, note, movable=False))
    if model.shapes[f"{base}.q_norm.weight"] == (size,) and turned == size:
        planes = np.tile(np.arange(size // 2), 2)
        ends = [(f"{base}.q_norm.weight", 0, planes)], [(f"{base}.k_norm.weight", 0, planes)]
        group = Rescaling(size // 2, signed=True)
        found.append(Claim(Bond(group, *ends, name=f"layer {layer} q and k gains"), "qk", layer))
    return found


def _units(model: Model, found: Reading, block: str, layer: int) -> list[str]:
    """SwiGLU: rows of up, columns of down; the gate stays. Returns what reads the norm."""
    experts = [m[1] for m in model.matches(_EXPERT) if m[1].startswith(f"{block}.")]
    for i, expert in enumerate(experts):
        found.claims.append(_pair(model, layer, f"expert {i} ", f"{expert}.w3", f"{expert}.w2"))
    if experts:
        router = f"{block}.block_sparse_moe.gate"
        return [router, *(f"{e}.{w}" for e in experts for w in ("w1", "w3"))]
    packed, down = f"{block}.mlp.gate_up_proj", f"{block}.mlp.down_proj"
    if f"{packed}.weight" in model:
        units = model.shapes[f"{packed}.weight"][0] // 2
        part = Part(packed, 0, np.arange(units) + units)
        name = f"layer {layer} units"
        ends = part.ends(model, np.arange(units)), [(f"{down}.weight", 1)]
        found.claims.append(
            Claim(Bond(Rescaling(units, signed=True), *ends, name=name), "mlp", layer)
        )
        return [packed]
    if f"{block}.mlp.up_proj.weight" not in model:
        return []
    found.claims.append(_pair(model, layer, "", f"{block}.mlp.up_proj", down))
    return [f"{block}.mlp.{part}_proj" for part in ("gate", "up")]


def _pair(model: Model, layer: int, place: str, up: str, down: str) -> Claim:
    units = model.shapes[f"{up}.weight"][0]
    bond = Bond(
        Rescaling(units, signed=True),
        model.ends(up),
        [(f"{down}.weight", 1)],
        name=f"layer {layer} {place}units",
    )
    return Claim(bond, "mlp", layer)


def _stream(model: Model, found: Reading, layers: list[tuple[str, str, int]]) -> None:
    """Every array that reads the residual stream, with its gain, or writes into it."""
    root = layers[0][1].rsplit("layers.", 1)[0]
    embed, head, last = f"{root}embed_tokens.weight", "lm_head.weight", f"{root}norm.weight"
    if embed not in model or last not in model:
        return
    readers: list[tuple[str, str | None]] = []
    writers = [(embed, 1)]
    biased = False
    for base, block, _ in layers:
        first, second = (f"{block}.{n}_layernorm.weight" for n in ("input", "post_attention"))
        names = [f"{base}.{p}_proj" for p in ("q", "k", "v", "qkv")]
        readers += [(f"{n}.weight", first) for n in names if f"{n}.weight" in model]
        inner = [f"{block}.mlp.{p}_proj" for p in ("gate", "up", "gate_up")]
        inner.append(f"{block}.block_sparse_moe.gate")
        experts = [m[1] for m in model.matches(_EXPERT) if m[1].startswith(f"{block}.")]
        inner += [f"{e}.{w}" for e in experts for w in ("w1", "w3")]
        readers += [(f"{n}.weight", second) for n in inner if f"{n}.weight" in model]
        outs = [f"{base}.o_proj", f"{block}.mlp.down_proj", *(f"{e}.w2" for e in experts)]
        writers += [(f"{n}.weight", 0) for n in outs if f"{n}.weight" in model]
        writers += [(f"{n}.bias", 0) for n in outs if f"{n}.bias" in model]
        biased = biased or any(f"{n}.bias" in model for n in outs)
    tied = head not in model
    readers.append((embed if tied else head, last))
    size = model.shapes[embed][1]
    if size > WIDEST:
        found.notes.append(f"residual stream: {size} channels are too many to measure")
        return
    note = "gains are absorbed into the matrices that read them: without that, only rotations "
    note += "that commute with the gains are symmetries"
    if tied:
        note += "; the embedding is tied to the output, so the last gain can be absorbed only "
        note += "once they are untied: measured as if they were"
    found.streams.append(Stream(size, tuple(readers), tuple(writers), note, model.kind in OFFSET))
