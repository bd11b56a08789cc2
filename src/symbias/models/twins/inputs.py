"""Inputs that reach every row of every embedding, and outputs as one vector."""

import inspect
from typing import Any

from symbias.models.twins.precision import in_double


def inputs_for(model: Any, seed: int = 0) -> dict[str, Any]:
    """Inputs of a model of transformers: all tokens, positions and types; images and sounds at
    random."""
    import torch

    random = torch.Generator().manual_seed(seed)
    config, takes = model.config, inspect.signature(model.forward).parameters
    text = getattr(config, "text_config", None) or config
    found: dict[str, Any] = {}
    if "input_ids" in takes:
        found["input_ids"] = _tokens(text, random)
        if "token_type_ids" in takes and getattr(text, "type_vocab_size", 0):
            shape = found["input_ids"].shape
            kinds = torch.arange(shape.numel()).reshape(shape) % text.type_vocab_size
            found["token_type_ids"] = kinds
    if "decoder_input_ids" in takes:
        found["decoder_input_ids"] = _tokens(text, random)
    if "pixel_values" in takes:
        vision = getattr(config, "vision_config", None) or config
        side = getattr(vision, "image_size", 32)
        size = (2, getattr(vision, "num_channels", 3), side, side)
        found["pixel_values"] = torch.randn(size, generator=random, dtype=torch.float64)
    if "input_features" in takes:
        size = (2, config.num_mel_bins, 2 * config.max_source_positions)
        found["input_features"] = torch.randn(size, generator=random, dtype=torch.float64)
    return found


def _tokens(config: Any, random: Any) -> Any:
    """Two rows in which every token occurs, as long as there are positions, up to 16 of them."""
    import torch

    count = min(config.vocab_size, 64)
    places = next((getattr(config, k) for k in ("max_position_embeddings", "n_positions",
                   "max_target_positions") if getattr(config, k, None)), count + 2)  # fmt: skip
    length = min(max(places - 2, 1), count)
    rows = max(2, -(-count // length))
    tokens = torch.randperm(rows * length, generator=random) % count
    return tokens.reshape(rows, length)


def outputs_of(model: Any, inputs: dict[str, Any]) -> Any:
    """All floating outputs of a model in one vector, in float64."""
    import torch

    with in_double():
        found = model(**inputs)
    parts = [found] if torch.is_tensor(found) else list(_tensors(found))
    return torch.cat([p.reshape(-1).double() for p in parts])


def _tensors(found: Any) -> Any:
    import torch

    values = found.items() if hasattr(found, "items") else enumerate(found)
    for key, value in values:
        if torch.is_tensor(value) and value.is_floating_point() and "past" not in str(key):
            yield value
