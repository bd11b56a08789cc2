"""GPT-2: packed queries, keys and values in the transposed layout of Conv1D."""

import numpy as np

from symbias.checkpoints import CheckpointError
from symbias.models.attention import Attention, Part
from symbias.models.claims import Model, Reading, gain, hidden
from symbias.models.families.bert import NOT_HOMOGENEOUS

TITLE, KINDS = "GPT-2", ("gpt2",)
_KNOWN = r"c_(attn|proj)\.(weight|bias)|bias|masked_bias"  # the last two are masks
_BLOCK = r"(attn|crossattention|mlp)\..*|ln_(1|2|cross_attn)\.(weight|bias)"
PRE_NORM = (
    "the residual stream is read through layer norms, which remove its mean: no scale of a channel "
    "can be undone, and of the rotations only those that keep the all-ones vector"
)


def read(model: Model) -> Reading | None:
    """Attention bonds, and the gains of the norms before each block."""
    layers = [(m[1], int(m[2])) for m in model.matches(r"(.*\bh\.(\d{1,6}))\.attn\.c_attn\.weight")]
    if not layers or model.kind not in ("", *KINDS):
        return None
    found = Reading(TITLE)
    heads = model.number("n_head", "num_attention_heads")
    activation = model.text("activation_function", default="gelu")
    for base, layer in layers:
        packed = f"{base}.attn.c_attn"
        found.scopes[f"{base}.attn"], found.blocks[base] = _KNOWN, _BLOCK
        width, three = model.shapes[f"{packed}.weight"]
        if three != 3 * width or width % heads:
            raise CheckpointError(f"config: {heads} heads do not fit {width} x {three} in c_attn")
        q, k, v = (Part(packed, 1, np.arange(width) + i * width) for i in range(3))
        size, out = width // heads, f"{base}.attn.c_proj"
        block = Attention(q, k, v, out, layer, heads, heads, size, o_axis=0)
        found.claims += block.claims(model)
        up, down = f"{base}.mlp.c_fc", f"{base}.mlp.c_proj"
        if activation == "relu":
            hidden(model, found, layer, up, down, axis=1)
        for norm, reader in (("ln_1", packed), ("ln_2", up)):
            gain(model, found, layer, f"{base}.{norm}", [reader], axis=0)
    found.notes.append(
        "the part of c_attn.bias that belongs to the keys is dead: it adds the same number to all "
        "logits of a query"
    )
    found.reasons = [
        (r".*attn\.(masked_)?bias", "a mask, not a parameter"),
        (r".*mlp\..*", NOT_HOMOGENEOUS.format(activation)),
        (r".*c_proj\.bias|.*w[tp]e\.weight", PRE_NORM),
        (r".*ln_f\..*", "its gain meets the embedding, which writes into the stream as well"),
        (r".*lm_head\..*", "the output is read as it is"),
    ]
    return found
