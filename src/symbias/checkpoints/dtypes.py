"""Numbers as they are stored, and as NumPy computes with them."""

import numpy as np

from symbias.checkpoints.headers import CheckpointError, Numpy, shown

LARGEST = 1e120  # whose squares, summed over any array, stay finite
STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_BYTES = ("F8_E4M3", "F8_E5M2", "F4", "F8_E8M0", "U8")  # codes of what scaled weights are made of
_INFINITY = {"F16": 0x7C00, "BF16": 0x7F80, "F8_E4M3": 0x7F, "F8_E5M2": 0x7C}
_PRECISION = {"BF16": 2.0**-7, "F8_E4M3": 2.0**-3, "F8_E5M2": 2.0**-2, "F4": 0.5}


def precision(dtype: str) -> float:
    """Distance from 1 to the next number of a stored dtype, or of one of NumPy's."""
    return _PRECISION.get(dtype) or float(np.finfo(STORED.get(dtype, dtype)).eps)


def is_coarse(dtype: str) -> bool:
    """Whether float32 is finer than a stored dtype by far: it holds two bytes exactly."""
    return dtype in ("BF16", "F16", "float16", *_BYTES)


def bytes_of(dtype: str) -> str:
    """What NumPy reads a stored dtype as."""
    return "<u1" if dtype in _BYTES else STORED[dtype]


def check_values(name: str, values: Numpy) -> None:
    """Raise CheckpointError unless values are finite, and so are sums of their squares."""
    if not np.isfinite(values).all():
        raise CheckpointError(f"array {shown(name)!r} holds values that are not finite")
    if values.dtype == np.float64 and np.abs(values).max(initial=0.0) > LARGEST:
        raise CheckpointError(
            f"array {shown(name)!r} holds values above {LARGEST:.0e}: their squares overflow"
        )


def check_stored(name: str, part: Numpy, dtype: str) -> None:
    """The same of stored values; those of one or two bytes by their bits, from infinity on.

    Bits are in the order of the values, but for the sign, which is the first of them.
    """
    if dtype in _INFINITY and part.size:
        limit, sign = _INFINITY[dtype], 1 << 8 * part.itemsize - 1
        signed = part.view(f"<i{part.itemsize}")
        if signed.max() >= limit or part.view(f"<u{part.itemsize}").max() >= limit + sign:
            raise CheckpointError(f"array {shown(name)!r} holds values that are not finite")
    elif dtype not in _BYTES:
        check_values(name, part)


def convert(part: Numpy, dtype: str, out: Numpy) -> None:
    """Stored values as numbers in ``out``: bfloat16 is the upper half of a float32."""
    if dtype != "BF16":
        out[...] = part
        return
    single = out if out.dtype == np.float32 else np.empty(out.shape, np.float32)
    np.left_shift(part, 16, out=single.view(np.uint32), dtype=np.uint32, casting="unsafe")
    if single is not out:
        out[...] = single


def to_stored(values: Numpy, dtype: str) -> Numpy:
    """Numbers rounded to a stored dtype, to nearest even."""
    if dtype != "BF16":
        with np.errstate(over="ignore"):
            return values.astype(STORED[dtype])
    import ml_dtypes

    with np.errstate(over="ignore"):
        return values.astype(ml_dtypes.bfloat16).view("<u2")
