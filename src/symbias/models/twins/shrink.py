"""Small configurations of an architecture: two of them, of sizes that tell its axes apart."""

import copy
from collections.abc import Mapping
from typing import Any

# config keys -> sizes in the first and the second twin
SIZES: dict[str, tuple[int, int]] = {
    "vocab_size": (7, 11),
    "max_position_embeddings": (9, 14),
    "n_positions": (9, 14),
    "max_source_positions": (7, 9),
    "max_target_positions": (9, 12),
    "type_vocab_size": (2, 3),
    "q_lora_rank": (5, 7),
    "kv_lora_rank": (4, 5),
    "qk_rope_head_dim": (4, 4),
    "qk_nope_head_dim": (3, 2),
    "v_head_dim": (2, 3),
    "n_routed_experts": (4, 6),
    "num_local_experts": (3, 4),
    "num_experts": (3, 4),
    "num_experts_per_tok": (2, 2),
    "n_group": (2, 2),
    "topk_group": (1, 1),
    "n_shared_experts": (1, 1),
    "first_k_dense_replace": (1, 1),
    "state_size": (3, 4),
    "conv_kernel": (2, 3),
    "time_step_rank": (2, 3),
    "relative_attention_num_buckets": (8, 10),
    "relative_attention_max_distance": (12, 16),
    "embedding_size": (5, 6),
    "num_mel_bins": (3, 4),
    "sliding_window": (4, 5),
    "local_attention": (4, 6),
    "num_labels": (3, 4),
    "max_relative_positions": (5, 6),
    "position_buckets": (4, 5),
    "projection_dim": (5, 6),
}
UNITS = (
    *("intermediate_size", "ffn_dim", "n_inner", "d_ff", "ffn_hidden_size", "hidden_dim"),
    *("moe_intermediate_size", "encoder_ffn_dim", "decoder_ffn_dim"),
)
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim", "word_embed_proj_dim", "pooler_hidden_size",
          "pooler_output_size")  # fmt: skip
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads",
         "decoder_attention_heads")  # fmt: skip
SHARED = ("num_key_value_heads", "num_kv_heads")
HEAD_SIZES = ("head_dim", "d_kv")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers",
          "decoder_layers", "num_decoder_layers")  # fmt: skip


def shrunken(config: Any, twin: int, layers: int) -> Any:
    """A small copy of a configuration of transformers: twin 0 or 1, of so many layers.

    What is shared stays shared: query heads that read one key head, a width that is all heads side
    by side, tied embeddings.
    """
    small = copy.deepcopy(config)
    for key in ("text_config", "vision_config"):
        part = getattr(small, key, None)
        if part is not None and hasattr(part, "to_dict"):
            setattr(small, key, shrunken(part, twin, layers))
    raw = config.to_dict()
    values: dict[str, Any] = {k: v[twin] for k, v in SIZES.items() if raw.get(k)}
    values |= {k: (5, 8)[twin] for k in UNITS if k in raw}
    layers = max(layers, 2 if raw.get("num_hidden_groups") else 1)  # one layer, run again and again
    values |= dict.fromkeys((k for k in LAYERS if raw.get(k)), layers)
    values |= _pyramid(raw, twin, layers) if raw.get("depths") else _attention(raw, twin)
    values |= _narrow(raw, twin)
    if "layer_types" in raw and isinstance(raw["layer_types"], list):
        kinds = list(dict.fromkeys(raw["layer_types"]))
        values["layer_types"] = [kinds[i % len(kinds)] for i in range(layers)]
    if isinstance(raw.get("mlp_layer_types"), list):
        kinds = list(dict.fromkeys(raw["mlp_layer_types"]))
        values["mlp_layer_types"] = [kinds[i % len(kinds)] for i in range(layers)]
    if raw.get("image_size") and not raw.get("depths"):
        values |= {"image_size": (4, 6)[twin], "patch_size": 2}
    values |= {k: 0.0 for k, v in raw.items() if _is_rate(k) and isinstance(v, float)}
    special = [k for k, v in raw.items() if k.endswith("token_id") and v is not None]
    values |= dict.fromkeys(special, 0)  # inside the vocabulary
    if isinstance(raw.get("rope_parameters"), dict):
        values["rope_parameters"] = _turned(raw["rope_parameters"], twin)
    for key, value in values.items():
        setattr(small, key, value)
    plain = type(config).from_dict(small.to_dict())
    plain._attn_implementation = plain._experts_implementation = "eager"
    return plain


def most_layers(config: Any) -> int:
    """Layers of the shallowest stack of a model, 1 if its config counts none."""
    raw = config.to_dict()
    return min([*(raw[k] for k in LAYERS if raw.get(k)), *raw.get("depths", ())], default=1)


def _pyramid(raw: Mapping[str, Any], twin: int, layers: int) -> dict[str, Any]:
    """Stages of so many blocks; of windows, two heads of each."""
    stages = len(raw["depths"])
    found: dict[str, Any] = {"depths": [layers] * stages, "image_size": 2 ** (stages + 3)}
    if raw.get("hidden_sizes"):
        narrow = raw.get("layer_type") == "bottleneck"  # blocks with a quarter of the channels
        found["hidden_sizes"] = [((8, 12) if narrow else (4, 6))[twin]] * stages
    if raw.get("embed_dim"):
        found |= {"embed_dim": (4, 6)[twin], "num_heads": [2] * stages, "window_size": 2}
        found |= {"patch_size": 2, "mlp_ratio": (1.5, 2.0)[twin]}
    if raw.get("embedding_size"):
        found["embedding_size"] = (3, 4)[twin]
    return found


def _narrow(raw: Mapping[str, Any], twin: int) -> dict[str, Any]:
    """Convolutional networks whose config lists no depths that could shrink: all blocks, with few
    channels, of sizes that differ where they did."""
    if raw.get("depth_multiplier"):  # channels as multiples of a table of the class
        found: dict[str, Any] = {"depth_multiplier": (1 / 16, 1 / 12)[twin], "min_depth": 1}
        found |= {"depth_divisible_by": 1, "expand_ratio": 2.0, "finegrained_output": False}
        return found | {"image_size": 64}
    if raw.get("width_coefficient"):
        ranks = sorted({*raw["in_channels"], *raw["out_channels"]})
        sizes = {n: rank + (2, 3)[twin] for rank, n in enumerate(ranks)}
        few = {key: [sizes[n] for n in raw[key]] for key in ("in_channels", "out_channels")}
        found = {**few, "width_coefficient": 1.0, "depth_divisor": 1, "image_size": 64}
        ratios = [min(r, 2) for r in raw["expand_ratios"]]
        return found | {"expand_ratios": ratios, "hidden_dim": (5, 7)[twin]}
    return {}


def _attention(raw: Mapping[str, Any], twin: int) -> dict[str, Any]:
    """Heads, their size, and the width."""
    heads = next((raw[k] for k in HEADS if isinstance(raw.get(k), int)), None)
    width = next((raw[k] for k in WIDTHS if isinstance(raw.get(k), int)), None)
    if width is None:
        return {}
    if heads is None:
        return dict.fromkeys((k for k in WIDTHS if raw.get(k)), (6, 8)[twin])
    shared = next((raw[k] for k in SHARED if isinstance(raw.get(k), int)), heads)
    grouped = shared not in (1, heads)
    size, count = _heads(raw, twin, grouped)
    kept = {1: 1, heads: count}.get(shared, count // 2)
    modern = grouped and _turns(raw)  # these read head_dim, whether their config has it or not
    free = modern or any(raw.get(k) for k in HEAD_SIZES) or bool(raw.get("kv_lora_rank"))
    full = (8, 6)[twin] if free else count * size
    found = dict.fromkeys((k for k in WIDTHS if raw.get(k)), full)
    found |= dict.fromkeys((k for k in HEADS if isinstance(raw.get(k), int)), count)
    found |= dict.fromkeys((k for k in SHARED if isinstance(raw.get(k), int)), kept)
    latent = SIZES["qk_rope_head_dim"][twin] if raw.get("kv_lora_rank") else size
    found |= dict.fromkeys((k for k in HEAD_SIZES if raw.get(k)), latent)
    return found | ({"head_dim": latent} if modern else {})


def _heads(raw: Mapping[str, Any], twin: int, grouped: bool) -> tuple[int, int]:
    """The size of a head, of two rotary planes at least where positions turn, and how many."""
    if _factor(raw) < 1:
        return ((6, 4) if grouped else (6, 2), (7, 2))[twin]
    if grouped:
        return ((6, 4), (4, 6))[twin]
    return (((4, 3), (6, 2)) if _turns(raw) else ((3, 2), (2, 4)))[twin]


def _turns(raw: Mapping[str, Any]) -> bool:
    return bool(raw.get("rope_parameters") or raw.get("rotary_dim"))


def _factor(raw: Mapping[str, Any]) -> float:
    places = [raw, raw.get("rope_parameters") or {}]
    found = [p.get(k) for p in places if isinstance(p, Mapping)
             for k in ("partial_rotary_factor", "rotary_pct")]  # fmt: skip
    return float(next((f for f in found if f), 1.0))


def _turned(rope: Mapping[str, Any], twin: int) -> dict[str, Any]:
    """Positions that turn all planes by angles far from zero: small ones look like none at all."""
    if any(isinstance(v, dict) for v in rope.values()):
        return {k: _turned(v, twin) for k, v in rope.items()}
    found = {"rope_type": "default", "rope_theta": 5.0}
    factor = rope.get("partial_rotary_factor", 1.0)
    return found | ({"partial_rotary_factor": (0.67, 0.58)[twin]} if factor < 1 else {})


def _is_rate(key: str) -> bool:
    return any(part in key for part in ("dropout", "pdrop", "drop_rate", "drop_path", "layerdrop"))
