"""Numbers as they are stored, and as NumPy computes with them."""

import numpy as np

from symbias.checkpoints.headers import CheckpointError, Numpy, shown

LARGEST = 1e120  # whose squares, summed over any array, stay finite
STORED = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_INFINITY = {"F16": 0x7C00, "BF16": 0x7F80}  # bits from which on, sign aside, none is finite
_MINUS = 0x8000


def precision(dtype: str) -> float:
    """Distance from 1 to the next number of a stored dtype, or of one of NumPy's."""
    return 2.0**-7 if dtype == "BF16" else float(np.finfo(STORED.get(dtype, dtype)).eps)


def is_half(dtype: str) -> bool:
    """Whether float32 holds values of a dtype, and products of two of them, exactly."""
    return dtype in ("BF16", "F16", "float16")


def check_values(name: str, values: Numpy) -> None:
    """Raise CheckpointError unless values are finite, and so are sums of their squares."""
    if not np.isfinite(values).all():
        raise CheckpointError(f"array {shown(name)!r} holds values that are not finite")
    if values.dtype == np.float64 and np.abs(values).max(initial=0.0) > LARGEST:
        raise CheckpointError(
            f"array {shown(name)!r} holds values above {LARGEST:.0e}: their squares overflow"
        )


def check_stored(name: str, part: Numpy, dtype: str) -> None:
    """The same of stored values; those of two bytes by their bits, in order but for the sign."""
    if dtype not in _INFINITY:
        check_values(name, part)
    elif part.size:
        limit = _INFINITY[dtype]
        if part.view("<i2").max() >= limit or part.view("<u2").max() >= limit + _MINUS:
            raise CheckpointError(f"array {shown(name)!r} holds values that are not finite")


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
