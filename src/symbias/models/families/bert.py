"""BERT and its kin: encoders with absolute positions, layer norms after each block, biases."""

from symbias.checkpoints import CheckpointError
from symbias.models.attention import Attention, Part
from symbias.models.claims import Model, Reading, hidden, split_heads

KINDS = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "data2vec-text", "ernie",
         "distilbert", "xlm-roberta-xl", "bert-generation")  # fmt: skip
TITLE = "BERT"
_KNOWN = (
    r"self\.(query|key|value)\.(weight|bias)|output\.dense\.(weight|bias)|[qkv]_lin\.(weight|bias)"
    r"|out_lin\.(weight|bias)|(output\.LayerNorm|self_attn_layer_norm)\.(weight|bias|gamma|beta)"
    r"|self\.distance_embedding\.weight"
)
PRUNED = "heads of this layer were pruned: the size of a head is not that of its arrays over heads"
_SELF = r"(.*\blayer\.(\d{1,6})\.(attention|crossattention))\.self\.query\.weight"
_DISTIL = r"(.*\blayer\.(\d{1,6})\.attention)\.q_lin\.weight"
KEY_BIAS = (
    "dead: it adds the same number to all logits of a query, and the softmax removes it "
    "(a translation of as many dimensions as it has entries)"
)
NOT_HOMOGENEOUS = (
    "{} is not homogeneous: a scale before it cannot be undone after it, so the units have no bond"
)
POST_NORM = (
    "a layer norm's output goes to the residual stream and to its readers at once, and the next "
    "norm removes the mean: no scale or rotation of it can be undone"
)
LOOKUP = "writes into a residual stream under layer norms, which no scale or rotation leaves alone"


def read(model: Model) -> Reading | None:
    """Attention bonds of every layer; units too where the activation is ReLU."""
    layers = [(m[1], int(m[2]), m[3] == "crossattention") for m in model.matches(_SELF)]
    distil = [(m[1], int(m[2]), False) for m in model.matches(_DISTIL)]
    if not layers and not distil:
        return None
    if model.kind not in ("", *KINDS):
        return None
    positions = model.text("position_embedding_type", default="absolute")
    if positions not in ("absolute", "relative_key", "relative_key_query"):
        raise CheckpointError("config: position_embedding_type is not one that is known")
    found = Reading(TITLE)
    heads = model.number("num_attention_heads", "n_heads")
    for base, layer, cross in [*layers, *distil]:
        parts, out = [f"{base}.self.{part}" for part in ("query", "key", "value")], "output.dense"
        if distil:
            parts, out = [f"{base}.{part}_lin" for part in "qkv"], "out_lin"
        if layer in model.pruned:
            names = (f"{p}.{end}" for p in (*parts, f"{base}.{out}") for end in ("weight", "bias"))
            found.misfits |= dict.fromkeys(names, PRUNED)
            continue
        size = split_heads(model, f"{parts[0]}.weight", heads)
        found.scopes[base] = _KNOWN
        place = "cross-attention " if cross else ""
        q, k, v = map(Part, parts)
        block = Attention(q, k, v, f"{base}.{out}", layer, heads, heads, size, place=place)
        if positions == "absolute":
            found.claims += block.logits(model)
        found.claims.append(block.values(model))
    activation = model.text("hidden_act", "activation", default="gelu")
    _units(model, found, activation)
    found.reasons = _reasons(activation, positions)
    return found


def _units(model: Model, found: Reading, activation: str) -> None:
    if activation != "relu":
        return
    for m in model.matches(r"(.*\blayer\.(\d{1,6}))\.intermediate\.dense\.weight"):
        up, down = f"{m[1]}.intermediate.dense", f"{m[1]}.output.dense"
        hidden(model, found, int(m[2]), up, down)


def _reasons(activation: str, positions: str) -> list[tuple[str, str]]:
    relative = "relative positions are contracted with queries and keys of all heads alike"
    return [
        (r".*distance_embedding.*", relative),
        *([(r".*self\.(query|key)\..*", relative)] if positions != "absolute" else []),
        (r".*attention\.(self\.key|k_lin)\.bias", KEY_BIAS),
        (r".*(intermediate\.dense|ffn\.lin\d).*", NOT_HOMOGENEOUS.format(activation)),
        (r".*layer\.\d+\.output\.dense\.weight", NOT_HOMOGENEOUS.format(activation)),
        (r".*(output\.dense|out_lin)\.bias", LOOKUP),
        (r".*(LayerNorm|layer_norm|_norm).*", POST_NORM),
        (r".*embeddings\..*", LOOKUP),
        (r".*pooler\..*", "tanh is not homogeneous"),
        (r".*(cls|lm_head|classifier|qa_outputs|vocab_\w+)\..*", "the output is read as it is"),
    ]
