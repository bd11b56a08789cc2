"""Numbers and lists, as sentences write them."""

import math
from collections.abc import Sequence

_HUGE = 1e9


def amount(value: float, change: float) -> str:
    """A value to a hundredth of a change of it: 1,098 where it fell by 248."""
    apart = abs(change) < 1e-3 * abs(value)  # digits that tell the two apart
    if not math.isfinite(value) or not change or (abs(value) >= _HUGE and not apart):
        return f"{value:,.4g}"
    decimals = 2 - math.floor(math.log10(abs(change)))
    if decimals > 9:
        return f"{value:.4g}"
    rounded = round(value, min(decimals, 9))
    return f"{rounded + 0.0:,.{max(decimals, 0)}f}"


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def times(count: int) -> str:
    """Once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def counted(count: int, one: str) -> str:
    """One change, 3 changes, no change."""
    if count == 1:
        return f"one {one}"
    return f"{count:,} {one}s" if count else f"no {one}"
