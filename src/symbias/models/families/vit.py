"""Vision transformers: those of transformers (ViT, DeiT, BEiT, DINOv2) and those of timm."""

import numpy as np

from symbias.models.attention import Attention, Part
from symbias.models.claims import Model, Reading, gain, hidden, split_heads
from symbias.models.families.bert import KEY_BIAS, NOT_HOMOGENEOUS
from symbias.models.families.gpt2 import PRE_NORM

KINDS = ("vit", "deit", "beit", "dinov2", "vit_mae", "vit_msn", "ijepa", "yolos", "dpt")
TITLE = "ViT"
_KNOWN = (  # tables of relative positions are added to the logits
    r"(attention\.(query|key|value)|output\.dense|qkv|proj)\.(weight|bias)|[qk]_norm\.(weight|bias)"
    r"|(attention\.relative_position_bias\.)?relative_position_(bias_table|index)"
)
_BLOCK = (
    r"(attention|attn)\..*|(layernorm_(before|after)|norm[12])\.(weight|bias)"
    r"|(intermediate|output)\.dense\.(weight|bias)|mlp\.(fc[12]|weights_(in|out))\.(weight|bias)"
    r"|(layer_scale|ls)\d\.(lambda1|gamma)|lambda_\d|gamma_\d"
)
_NORMS = ("layernorm_before", "layernorm_after")
_HUGGING = r"((.*\blayer\.(\d{1,6}))\.attention)\.attention\.query\.weight"
_TIMM = r"((.*\bblocks\.(\d{1,6}))\.attn)\.qkv\.weight"


def read(model: Model) -> Reading | None:
    """Attention bonds, and the gains of the norms before each block."""
    found = Reading(TITLE)
    if model.kind in ("", *KINDS):
        for m in model.matches(_HUGGING):
            _hugging(model, found, m[1], m[2], int(m[3]))
        for m in model.matches(_TIMM):
            _timm(model, found, m[1], m[2], int(m[3]))
    if not found.claims:
        return None
    activation = model.text("hidden_act", default="gelu")
    found.reasons = [
        (r".*attention\.key\.bias", KEY_BIAS),
        (r".*(intermediate\.dense|mlp\.\w+|layer\.\d+\.output\.dense)\.weight",
         NOT_HOMOGENEOUS.format(activation)),
        (r".*(intermediate\.dense|mlp\.fc1)\.bias", NOT_HOMOGENEOUS.format(activation)),
        (r".*(attn\.proj|output\.dense|fc2|weights_out)\.bias", PRE_NORM),
        (r".*(layer_scale\d\.lambda1|lambda_\d|ls\d\.gamma|gamma_\d)",
         "a scale of each channel after a block: it meets weights of the block, a Rescaling that "
         "is not measured here"),
        (r".*(patch_embed|cls_token|mask_token|pos_embed|position_embed|embeddings\.).*", PRE_NORM),
        (r".*relative_position.*", "a table of positions, added to the logits"),
        (r".*(layernorm|norm|fc_norm)\.(weight|bias)", "its readers are not named here"),
        (r".*(head|classifier|pooler)\..*", "the output is read as it is"),
    ]  # fmt: skip
    return found


def _hugging(model: Model, found: Reading, base: str, block: str, layer: int) -> None:
    heads = model.number("num_attention_heads")
    found.scopes[base], found.blocks[block] = _KNOWN, _BLOCK
    names = [f"{base}.attention.{part}" for part in ("query", "key", "value")]
    size = split_heads(model, f"{names[0]}.weight", heads)
    q, k, v = map(Part, names)
    attention = Attention(q, k, v, f"{base}.output.dense", layer, heads, heads, size)
    found.claims += attention.claims(model)
    up, down = f"{block}.intermediate.dense", f"{block}.output.dense"
    if f"{up}.weight" in model and model.text("hidden_act") == "relu":
        hidden(model, found, layer, up, down)
    ups = [name for name in (up, f"{block}.mlp.fc1", f"{block}.mlp.weights_in")
           if f"{name}.weight" in model]  # fmt: skip
    norms = ("norm1", "norm2") if f"{block}.norm1.weight" in model else _NORMS
    for norm, readers in zip(norms, (names, ups or [up]), strict=True):
        gain(model, found, layer, f"{block}.{norm}", readers)


def _timm(model: Model, found: Reading, base: str, block: str, layer: int) -> None:
    heads = model.number("num_heads", "num_attention_heads")
    packed = f"{base}.qkv"
    found.scopes[base], found.blocks[block] = _KNOWN, _BLOCK
    size = split_heads(model, f"{packed}.weight", heads, 3)
    q, k, v = (Part(packed, 0, np.arange(heads * size) + i * heads * size) for i in range(3))
    attention = Attention(q, k, v, f"{base}.proj", layer, heads, heads, size)
    normed = any(
        f"{base}.{part}_norm.{end}" in model for part in "qk" for end in ("weight", "bias")
    )
    found.claims += [attention.values(model)] if normed else attention.claims(model)
    for norm, reader in (("norm1", packed), ("norm2", f"{block}.mlp.fc1")):
        gain(model, found, layer, f"{block}.{norm}", [reader])
