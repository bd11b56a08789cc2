"""Inputs that reach every row of every embedding, and outputs as one vector."""

import inspect
from typing import Any

from symbias.models.twins.precision import in_double


def inputs_for(model: Any, seed: int = 0) -> dict[str, Any]:
    """Inputs of a model of transformers: all tokens, positions and types; images and sounds at
    random. Where positions are counted from behind a padding, fewer of them fit."""
    import torch

    found = _inputs(model, seed)
    for fewer in (0, 1, 2):
        cut = {k: v[:, : v.shape[1] - fewer] if v.ndim == 2 else v for k, v in found.items()}
        try:
            with torch.no_grad():
                outputs_of(model, cut)
        except IndexError:
            continue
        return cut
    return found


def _inputs(model: Any, seed: int) -> dict[str, Any]:
    import torch

    random = torch.Generator().manual_seed(seed)
    config, takes = model.config, inspect.signature(model.forward).parameters
    text = getattr(config, "text_config", None) or config
    found: dict[str, Any] = {}
    if "input_ids" in takes:
        found["input_ids"] = _tokens(text, random)
        kinds_of = getattr(text, "type_vocab_size", None)
        if "token_type_ids" in takes and kinds_of:
            shape = found["input_ids"].shape
            found["token_type_ids"] = torch.randint(kinds_of, shape, generator=random)
        if "position_ids" in takes and _counts_from_padding(model):
            size, shape = found["input_ids"].numel(), found["input_ids"].shape
            order = torch.randperm(size, generator=random) % text.max_position_embeddings
            found["position_ids"] = order.reshape(shape)
    if "decoder_input_ids" in takes:
        found["decoder_input_ids"] = _tokens(text, random)
    if "pixel_values" in takes:
        vision = getattr(config, "vision_config", None) or config
        side = getattr(vision, "image_size", 32)
        size = (2, getattr(vision, "num_channels", 3), side, side)
        found["pixel_values"] = torch.randn(size, generator=random, dtype=torch.float64)
    if "input_features" in takes:
        rows = len(found.get("decoder_input_ids", "ab"))
        sound = (rows, config.num_mel_bins, 2 * config.max_source_positions)
        found["input_features"] = torch.randn(sound, generator=random, dtype=torch.float64)
    return found


def _counts_from_padding(model: Any) -> bool:
    """Whether padding tokens always take one position, as in RoBERTa: rows that no other pair with
    would move against each other."""
    parts = list(model.modules())
    return any(
        isinstance(getattr(part, "padding_idx", None), int) and hasattr(part, "position_embeddings")
        for part in parts
    )


def _tokens(config: Any, random: Any) -> Any:
    """Rows in which every token occurs, as long as there are positions, up to 32 of them.

    Four rows, so that no token goes with one position only.
    """
    import torch

    count = min(config.vocab_size, 64)
    keys = ("max_position_embeddings", "n_positions", "max_target_positions")
    given = [getattr(config, key, None) for key in keys]
    places: int = next(filter(None, given), count + 2)
    length = min(places, 32) if places > 2 else count + 2
    rows = max(4, -(-count // length))
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
