"""GPT-NeoX (Pythia): packed by heads, rotary positions on a part of every head, layer norms."""

import numpy as np

from symbias.models.attention import Attention, Part
from symbias.models.claims import Model, Reading, gain, hidden, split_heads
from symbias.models.families.bert import NOT_HOMOGENEOUS
from symbias.models.families.gpt2 import PRE_NORM
from symbias.models.families.heads import output_of
from symbias.models.families.llama import turned_entries

TITLE, KINDS = "GPT-NeoX", ("gpt_neox",)
_KNOWN = r"(query_key_value|dense)\.(weight|bias)|bias|masked_bias|rotary_emb\.inv_freq"
_BLOCK = (
    r"attention\..*|(input|post_attention)_layernorm\.(weight|bias)"
    r"|mlp\.dense_(h_to_4h|4h_to_h)\.(weight|bias)"
)
_HEADS = {"ForCausalLM": "embed_out", "ForSequenceClassification": "score",
          "ForTokenClassification": "classifier", "ForQuestionAnswering": "qa_outputs"}  # fmt: skip
_LAYER = r"((.*\blayers\.(\d{1,6}))\.attention)\.query_key_value\.weight"


def read(model: Model) -> Reading | None:
    """Attention bonds, and the gains of the norms before each block."""
    layers = [(m[1], m[2], int(m[3])) for m in model.matches(_LAYER)]
    if not layers or model.kind not in KINDS:
        return None
    found = Reading(TITLE)
    heads = model.number("num_attention_heads")
    activation = model.text("hidden_act", default="gelu")
    for base, block, layer in layers:
        packed = f"{base}.query_key_value"
        found.scopes[base], found.blocks[block] = _KNOWN, _BLOCK
        size = split_heads(model, f"{packed}.weight", heads, 3)
        rows = np.arange(3 * heads * size).reshape(heads, 3, size)
        q, k, v = (Part(packed, 0, rows[:, i].reshape(-1)) for i in range(3))
        turned = turned_entries(model, size, "rotary_pct", default=0.25)
        attention = Attention(q, k, v, f"{base}.dense", layer, heads, heads, size, turned)
        found.claims += attention.claims(model)
        up, down = f"{block}.mlp.dense_h_to_4h", f"{block}.mlp.dense_4h_to_h"
        if activation == "relu":
            hidden(model, found, layer, up, down)
        for norm, reader in (("input_layernorm", packed), ("post_attention_layernorm", up)):
            gain(model, found, layer, f"{block}.{norm}", [reader])
    root = layers[0][1].rsplit("layers.", 1)[0]
    output = output_of(model, root, ("gpt_neox.",), _HEADS, tied=False)
    if output.reader:
        gain(model, found, None, f"{root}final_layer_norm", [output.reader])
    else:
        found.notes.append(f"no bond of the last norm: {output.why}")
    found.reasons = [
        (r".*rotary_emb.*|.*attention\.(masked_)?bias", "a table or a mask, not a parameter"),
        (r".*mlp\.\w+\.weight|.*h_to_4h\.bias", NOT_HOMOGENEOUS.format(activation)),
        (r".*final_layer_norm\..*|.*embed_out\..*", "the output is read as it is"),
        (r".*", PRE_NORM),
    ]
    return found
