"""OPT, BART, CLIP: attention layers with an out_proj, learned positions, biases."""

from dataclasses import replace

from symbias.checkpoints import CheckpointError
from symbias.models.attention import Attention, Part
from symbias.models.claims import Model, Reading, gain, hidden, split_heads
from symbias.models.families.bert import KEY_BIAS, NOT_HOMOGENEOUS
from symbias.models.families.gpt2 import PRE_NORM

TWO_TOWERS = ("clip", "siglip")  # text and images, with a config for each
KINDS = ("opt", "bart", "mbart", "marian", "blenderbot", "pegasus", "clip_text_model",
         "clip_vision_model", "whisper", "m2m_100", *TWO_TOWERS)  # fmt: skip
TITLE = "OPT, BART, CLIP"
_KNOWN = r"([qkv]|out)_proj\.(weight|bias)"
_BLOCK = r"(self|encoder)_attn\..*|\w*layer_norm\d?\.(weight|bias)|fc[12]\.(weight|bias)"
_LAYER = r"((.*\blayers\.(\d{1,6}))\.(self_attn|encoder_attn))\.q_proj\.weight"


def read(model: Model) -> Reading | None:
    """Attention bonds of every layer; units too where the activation is ReLU."""
    layers = list(model.matches(_LAYER))
    if (
        model.kind not in (*KINDS, *TWO_TOWERS)
        or not layers
        or f"{layers[0][1]}.out_proj.weight" not in model
    ):
        return None
    found = Reading(TITLE)
    activations = []
    for m in layers:
        base, block, layer = m[1], m[2], int(m[3])
        tower = _tower(model, block)
        default = tower.text("activation_function", "hidden_act", default="gelu")
        activations.append(default)
        found.scopes[base], found.blocks[block] = _KNOWN, _BLOCK
        side = "decoder" if ".decoder." in f".{block}." else "encoder"
        heads = tower.number("num_attention_heads", f"{side}_attention_heads")
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
        (r".*fc[12]\.weight|.*fc1\.bias", NOT_HOMOGENEOUS.format(activations[0])),
        (r".*(norm|norm1|norm2)\.(weight|bias)", "a layer norm whose readers are not named here"),
        (r".*", PRE_NORM),
    ]
    return found


def _tower(model: Model, block: str) -> Model:
    """The model, with the config of the tower that a block is in."""
    if model.kind not in TWO_TOWERS:
        return model
    name = "vision_config" if ".vision_model." in f".{block}." else "text_config"
    config = model.config.get(name)
    if not isinstance(config, dict):
        raise CheckpointError(f"config: {name} is missing, or no map")
    return replace(model, config=config)
