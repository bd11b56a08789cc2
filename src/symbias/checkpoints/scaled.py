"""Weights stored as small numbers times scales: FP8, and MXFP4 as GPT-OSS stores it.

FP8 keeps ``weight`` in a float8 dtype, beside it ``weight_scale`` or, a factor as well by its use,
``weight_scale_inv``: one number for all, one for a row, or one for a block of 128 by 128 (DeepSeek
V3; OCP 8-bit floating point). MXFP4 keeps ``*_blocks`` of bytes, two FP4 numbers (E2M1) in each,
the lower half first, and for every 32 of them a power of two in ``*_scales`` (E8M0; OCP
Microscaling formats).
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import prod

import numpy as np

from symbias.checkpoints.headers import Entry, Numpy, Scale

SCALES = ("_scale_inv", "_scale")  # after the name of an FP8 weight
INPUTS = ("input_scale", "activation_scale")  # beside it, of what it multiplies
BLOCK = 128  # of a grid that divides no axis
PACK = 32  # FP4 numbers that share a scale, in 16 bytes
_FLOATS = ("F32", "BF16", "F16", "F8_E8M0", "U8")


def logical(
    entries: Mapping[str, Entry], config: Mapping[str, object]
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Entries with scaled weights as one array each, and the parts of them: name to weight.

    A weight whose scales are not there, or do not fit, stays what it is.
    """
    found, parts = dict(entries), dict[str, str]()
    for name, entry in entries.items():
        if name.endswith("_blocks"):
            weight, scales = name.removesuffix("_blocks"), f"{name.removesuffix('_blocks')}_scales"
            packed = _packed(entry, entries.get(scales), weight)
            if packed is not None and weight not in entries:
                found[weight] = packed
                parts |= dict.fromkeys((name, scales), weight)
        elif entry.dtype in ("F8_E4M3", "F8_E5M2"):
            beside = [f"{name}{end}" for end in SCALES if f"{name}{end}" in entries]
            scale = _scale(entry, entries[beside[0]], config) if len(beside) == 1 else None
            if scale is not None:
                found[name] = replace(entry, scale=scale)
                module = name.rpartition(".")[0]
                inputs = (f"{module}.{end}" for end in INPUTS)
                parts |= dict.fromkeys([beside[0], *(i for i in inputs if i in entries)], name)
    return {name: entry for name, entry in found.items() if name not in parts}, parts


def _packed(blocks: Entry, scales: Entry | None, weight: str) -> Entry | None:
    """Experts ``(e, in, out)`` from bytes ``(e, out, in / 32, 16)``."""
    if scales is None or blocks.dtype != "U8" or scales.dtype not in ("U8", "F8_E8M0"):
        return None
    if len(blocks.shape) != 4 or blocks.shape[-1] != PACK // 2:
        return None
    if scales.shape != blocks.shape[:-1]:
        return None
    experts, rows, groups, _ = blocks.shape
    scale = Scale(scales, scales.shape, (1, 1, PACK))
    return Entry(weight, blocks.file, "F4", (experts, groups * PACK, rows), blocks.start,
                 blocks.stop, scale)  # fmt: skip


def _scale(weight: Entry, scales: Entry, config: Mapping[str, object]) -> Scale | None:
    if scales.dtype not in _FLOATS or not weight.size:
        return None
    shape = scales.shape
    if prod(shape) == 1:
        shape = (1,) * len(weight.shape)
    elif len(shape) == 1:  # of rows
        shape = (*shape, *(1,) * (len(weight.shape) - 1))
    if len(shape) != len(weight.shape):
        return None
    given = config.get("quantization_config")
    asked = given.get("weight_block_size") if isinstance(given, dict) else None
    asked = asked if isinstance(asked, list) and len(asked) == 2 else [BLOCK, BLOCK]
    asked = [*(1,) * (len(shape) - 2), *asked][-len(shape) :]
    blocks = [_block(*axis) for axis in zip(weight.shape, shape, asked, strict=True)]
    return Scale(scales, shape, tuple(blocks)) if all(blocks) else None


def _block(size: int, count: int, asked: object) -> int:
    """Entries of an axis that share a scale; 0 where so many scales do not fit it."""
    if isinstance(asked, int) and asked > 0 and count == -(-size // asked):
        return asked
    return size // count if count and size % count == 0 else 0


def powers(codes: Numpy) -> Numpy:
    """Powers of two stored as bytes (E8M0), in float32; 255 is not a number."""
    exact: Numpy = np.exp2(codes.astype(np.float64) - 127)
    return np.where(codes == 255, np.nan, exact).astype(np.float32)


def scaled(entry: Entry, codes: Numpy, scales: Numpy, first: int) -> Numpy:
    """The numbers that ``codes`` of whole rows from ``first`` on stand for, in float32."""
    assert entry.scale is not None
    count, rest = len(codes), entry.shape[1:]
    if entry.dtype == "F4":
        rows = _pairs()[codes].reshape(count, rest[1], -1, PACK)
        rows *= scales[first : first + count, ..., None]
        return np.swapaxes(rows.reshape(count, rest[1], rest[0]), 1, 2).reshape(count, -1)
    values = _table(entry.dtype)[codes].reshape(count, *rest)
    lines = [np.arange(first, first + count), *map(np.arange, rest)]
    blocks = zip(lines, entry.scale.blocks, scales.shape, strict=True)
    values *= scales[np.ix_(*(line // block if n > 1 else line * 0 for line, block, n in blocks))]
    return values.reshape(count, -1)


@cache
def _table(dtype: str) -> Numpy:
    """What each byte of a float8 dtype stands for."""
    import ml_dtypes

    kind = {"F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}[dtype]
    return np.arange(256, dtype=np.uint8).view(kind).astype(np.float32)


@cache
def _pairs() -> Numpy:
    """The two numbers of each byte of FP4, the lower half first."""
    half = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
    values, codes = np.concatenate([half, -half]), np.arange(256)
    return np.stack([values[codes & 15], values[codes >> 4]], axis=-1)
