"""Llama and its kin: rotary positions, shared key heads, SwiGLU, RMSNorm, QK-norm, experts."""

import re
from functools import partial

import numpy as np

from symbias.checkpoints import CheckpointError
from symbias.models.attention import Attention, Part
from symbias.models.claims import Claim, Model, Reading, Stream, gain, hidden, split_heads
from symbias.models.families.heads import Output, output_of
from symbias.symmetry import Bond, Rescaling, UniformScale

KINDS = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "mixtral")
TITLE = "Llama"
PARTIAL = ("phi3",)  # turn a part of each head only, if the config says so; others never do
_KNOWN = r"([qkvo]|qkv)_proj\.(weight|bias)|rotary_emb\.inv_freq"
IGNORED = (
    "stored, but the config ties it to the embedding: which of the two a model runs depends on its "
    "library, so nothing is claimed on it"
)
WIDEST = 20_000  # channels of a residual stream
OFFSET = ("gemma", "gemma2")  # gains stored less one
_LAYER = r"((.*\blayers\.(\d{1,6}))\.self_attn)\.(q_proj|qkv_proj)\.weight"
_BLOCK = (
    r"self_attn\..*|(input|post_attention|(pre|post)_feedforward)_layernorm\.weight"
    r"|mlp\.(gate|up|down|gate_up)_proj\.(weight|bias)"
    r"|block_sparse_moe\.(gate|experts\.\d{1,6}\.w[123])\.weight"
)
_BODY = r"layers\..*|(embed_tokens|norm)\.weight|rotary_emb\.inv_freq"
_HEADS = {"ForCausalLM": "lm_head", "ForSequenceClassification": "score",
          "ForTokenClassification": "score", "ForQuestionAnswering": "qa_outputs"}  # fmt: skip
_BODIES = ("model.", "transformer.")  # the second of models that answer questions
TIED = ("gemma", "gemma2")  # by default
_EXPERT = r"(.*\blayers\.(\d{1,6})\.block_sparse_moe\.experts\.(\d{1,6}))\.w1\.weight"


def read(model: Model) -> Reading | None:
    """Attention, hidden units and gains of every layer, and the residual stream."""
    layers = [(m[1], m[2], int(m[3])) for m in model.matches(_LAYER)]
    if not layers or model.kind not in ("", *KINDS):
        return None
    if model.kind == "" and f"{layers[0][0]}.o_proj.weight" not in model:
        return None
    found = Reading(TITLE)
    readers: list[tuple[str, str]] = []  # of the stream, each with its norm
    for base, block, layer in layers:
        found.blocks[block] = _BLOCK
        before = "pre_feedforward" if model.kind == "gemma2" else "post_attention"
        for norm, names in (
            ("input", _attention(model, found, base, layer)),
            (before, _units(model, found, block, layer)),
        ):
            readers += [(name, f"{block}.{norm}_layernorm") for name in names]
            if model.kind not in OFFSET and names:
                gain(model, found, layer, f"{block}.{norm}_layernorm", names)
    root = layers[0][1].rsplit("layers.", 1)[0]
    found.blocks[root.rstrip(".")] = _BODY
    output = output_of(model, root, _BODIES, _HEADS, tied=model.kind in TIED)
    if output.ignored:
        found.misfits[f"{output.ignored}.weight"] = IGNORED
    if output.reader and model.kind not in OFFSET:
        gain(model, found, None, f"{root}norm", [output.reader])
    if why := _unturned(model, root, layers, output):
        found.notes.append(f"residual stream: {why}: no rotation")
    else:
        readers.append((output.reader or f"{root}embed_tokens", f"{root}norm"))
        _stream(model, found, root, readers, tied=output.tied)
    found.reasons = [
        (r".*rotary_emb\..*", "a table of positions, not a parameter"),
        (r".*gate_proj\.(weight|bias)|.*\.w1\.weight", "its output passes SiLU or GELU, which is "
         "not homogeneous; it belongs to the residual stream only"),
        (r".*[qk]_norm\.weight", "its entries share a bond only where rotary planes pair them"),
        (r".*norm\.weight", "stored less one, so no scale acts on it"
         if model.kind in OFFSET else "its reader is the embedding, which writes as well"),
        (r".*(lm_head|score|qa_outputs)\..*", "what it computes is the output, or is not known"),
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
    attention = Attention(q, k, v, f"{base}.o_proj", layer, heads, shared, size, turned)
    if why := _unknown_logits(model, found, base, size, turned, normed=normed):
        names = [f"{p.name}.{end}" for p in (q, k) for end in ("weight", "bias")]
        found.misfits |= dict.fromkeys(names, why)
    elif normed:
        found.claims += _normed(model, base, layer, heads, shared, size, turned)
    else:
        found.claims += attention.logits(model)
    found.claims.append(attention.values(model))
    return readers


def _unknown_logits(
    model: Model, found: Reading, base: str, size: int, turned: int, *, normed: bool
) -> str:
    """Why queries and keys have no bond; empty if they have one."""
    if model.kind == "qwen3" and not normed:
        found.expects(model, *(f"{base}.{p}_norm.weight" for p in "qk"))
        return "the norms of queries and keys are not here, or not of a head's size"
    if turned == size or model.kind in PARTIAL:
        return ""
    why = f"partial_rotary_factor is set, which transformers' {model.kind or 'llama'} ignores: "
    why += "how much of a head turns is not known, so the logits have no bond"
    if why not in found.notes:
        found.notes.append(why)
    return why


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
    group = partial(hidden, model, found, layer, signed=True)
    for i, expert in enumerate(experts):
        group(f"{expert}.w3", f"{expert}.w2", place=f"expert {i} ")
    if experts:
        router = f"{block}.block_sparse_moe.gate"
        return [router, *(f"{e}.{w}" for e in experts for w in ("w1", "w3"))]
    packed, down = f"{block}.mlp.gate_up_proj", f"{block}.mlp.down_proj"
    if f"{packed}.weight" not in model:
        group(f"{block}.mlp.up_proj", down)
        return [f"{block}.mlp.{part}_proj" for part in ("gate", "up")]
    if found.expects(model, f"{down}.weight"):
        units = model.shapes[f"{packed}.weight"][0] // 2
        ends = Part(packed, 0, np.arange(units) + units).ends(model, np.arange(units))
        bond = Bond(
            Rescaling(units, signed=True),
            ends,
            [(f"{down}.weight", 1)],
            name=f"layer {layer} units",
        )
        found.claims.append(Claim(bond, "mlp", layer))
    return [packed]


def _unturned(model: Model, root: str, layers: list[tuple[str, str, int]], output: Output) -> str:
    """Why the stream as a whole is not known, or does not turn; empty if it may."""
    if output.ignored:
        return f"{output.ignored}.weight is {IGNORED}"
    if model.kind == "gemma2":
        return "norms after each block have gains of their own, which cannot be absorbed"
    if not output.reader and not output.tied:
        return output.why
    stored = {int(m[1]) for m in model.matches(rf"{re.escape(root)}layers\.(\d{{1,6}})\..*")}
    count = model.number("num_hidden_layers", default=len(stored))
    numbers = [layer for _, block, layer in layers if block == f"{root}layers.{layer}"]
    here = len(stored) == len(layers) == count and stored == set(numbers) == set(range(count))
    if not here:
        return f"its {count} layers are not all here and whole, or others are beside them"
    embed = f"{root}embed_tokens.weight"
    if embed in model and len(model.shapes[embed]) == 2 and model.shapes[embed][1] > WIDEST:
        return f"{model.shapes[embed][1]} channels are too many to measure"
    return ""


def _stream(
    model: Model, found: Reading, root: str, readers: list[tuple[str, str]], *, tied: bool
) -> None:
    """Every array that reads the residual stream, with its gain, or writes into it."""
    embed = f"{root}embed_tokens.weight"
    blocks = dict.fromkeys(norm.rsplit(".", 1)[0] for _, norm in readers[:-1])
    outs: list[str] = []
    for block in blocks:
        experts = [m[1] for m in model.matches(_EXPERT) if m[1].startswith(f"{block}.")]
        outs += [f"{block}.self_attn.o_proj", *(f"{e}.w2" for e in experts)]
        outs += [] if experts else [f"{block}.mlp.down_proj"]
    writers = [(embed, 1), *((f"{name}.weight", 0) for name in outs)]
    writers += [(f"{name}.bias", 0) for name in outs if f"{name}.bias" in model]
    pairs = [(f"{name}.weight", f"{norm}.weight") for name, norm in readers]
    names = [*(name for pair in pairs for name in pair), *(name for name, _ in writers)]
    if not found.expects(model, *names):
        found.notes.append("residual stream: arrays that read it or write it are missing")
        return
    note = "gains are absorbed into the matrices that read them: without that, only rotations "
    note += "that commute with the gains are symmetries"
    if tied:
        note += "; the embedding is tied to the output, so the last gain can be absorbed only "
        note += "once they are untied: measured as if they were"
    size = model.shapes[embed][1]
    offset = model.kind in OFFSET
    found.streams.append(Stream(size, tuple(pairs), tuple(writers), note, offset))
