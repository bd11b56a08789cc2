"""OPT, BART, CLIP: attention layers with an out_proj, learned positions, biases."""

from symbias.models.attention import Attention, Part
from symbias.models.claims import Model, Reading, gain, hidden, split_heads
from symbias.models.families.bert import KEY_BIAS, NOT_HOMOGENEOUS
from symbias.models.families.gpt2 import PRE_NORM

KINDS = ("opt", "bart", "mbart", "marian", "blenderbot", "pegasus", "clip_text_model",
         "clip_vision_model", "whisper", "m2m_100")  # fmt: skip
TITLE = "OPT, BART, CLIP"
_KNOWN = r"([qkv]|out)_proj\.(weight|bias)"
_BLOCK = r"(self|encoder)_attn\..*|\w*layer_norm\d?\.(weight|bias)|fc[12]\.(weight|bias)"
_LAYER = r"((.*\blayers\.(\d{1,6}))\.(self_attn|encoder_attn))\.q_proj\.weight"


def read(model: Model) -> Reading | None:
    """Attention bonds of every layer; units too where the activation is ReLU."""
    layers = list(model.matches(_LAYER))
    if model.kind not in KINDS or not layers or f"{layers[0][1]}.out_proj.weight" not in model:
        return None
    found = Reading(TITLE)
    default = model.text("activation_function", "hidden_act", default="gelu")
    for m in layers:
        base, block, layer = m[1], m[2], int(m[3])
        found.scopes[base], found.blocks[block] = _KNOWN, _BLOCK
        side = "decoder" if ".decoder." in f".{block}." else "encoder"
        heads = model.number("num_attention_heads", f"{side}_attention_heads")
        size = split_heads(model, f"{base}.q_proj.weight", heads)
        q, k, v = (Part(f"{base}.{part}_proj") for part in "qkv")
        place = f"{block.split('.layers')[0]} {'cross-' if m[4] == 'encoder_attn' else ''}"
        attention = Attention(q, k, v, f"{base}.out_proj", layer, heads, heads, size, place=place)
        found.claims += attention.claims(model)
        if default == "relu" and m[4] == "self_attn" and f"{block}.fc1.weight" in model:
            hidden(model, found, layer, f"{block}.fc1", f"{block}.fc2", place=place)
        if model.kind == "opt" and model.config.get("do_layer_norm_before", True) is True:
            for norm, readers in (
                ("self_attn_layer_norm", [f"{base}.{part}_proj" for part in "qkv"]),
                ("final_layer_norm", [f"{block}.fc1"]),
            ):
                gain(model, found, layer, f"{block}.{norm}", readers)
    found.reasons = [
        (r".*k_proj\.bias", KEY_BIAS),
        (r".*fc[12]\.weight|.*fc1\.bias", NOT_HOMOGENEOUS.format(default)),
        (r".*(norm|norm1|norm2)\.(weight|bias)", "a layer norm whose readers are not named here"),
        (r".*", PRE_NORM),
    ]
    return found
