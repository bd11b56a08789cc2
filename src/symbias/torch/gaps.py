"""Whether sizes fall into two kinds: what died, and what lives."""

from dataclasses import dataclass

import numpy as np

WIDE, FAR = 10.0, 0.05  # least ratio of a gap; what is dead, over the median of what lives
FLOOR = 1e-7  # of the largest: less counts as this


@dataclass(frozen=True)
class Gap:
    """A gap in sizes: ``dead`` of them lie below ``threshold``, the next is ``ratio`` larger."""

    threshold: float
    dead: int
    ratio: float


def find_gap(sizes: np.ndarray) -> Gap | None:
    """The uppermost place where a size is ten times the next smaller one.

    What lies below must be less than a twentieth of the median of what lies above, and exact zeros
    count as 1e-7 of the largest. None where sizes go on without such a step: no threshold separates
    what died from what lives.
    """
    s = np.sort(np.asarray(sizes, dtype=float), kind="stable")  # fast where much is sorted already
    if len(s) < 2 or s[-1] <= 0:
        return None
    floored = np.maximum(s, FLOOR * s[-1])
    ratios = floored[1:] / floored[:-1]
    for k in np.flatnonzero(ratios >= WIDE)[::-1].tolist():
        living = floored[k + 1 :]
        if floored[k] <= FAR * (living[(len(living) - 1) // 2] + living[len(living) // 2]) / 2:
            return Gap(float(np.sqrt(s[k] * s[k + 1])), k + 1, float(ratios[k]))
    return None
