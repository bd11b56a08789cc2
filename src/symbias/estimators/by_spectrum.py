"""Orthonormal spectra of a series without gaps: one threshold of the coefficients."""

import numpy as np
import scipy.fft

from symbias.estimators.by_knots import Fitted
from symbias.estimators.observed import Observed
from symbias.penalties import Penalty, Spectral


def whole(penalty: Penalty, grid: np.ndarray, seen: Observed) -> bool:
    """Whether cosines are wanted, of values that are all there, evenly, once each."""
    return (
        isinstance(penalty, Spectral)
        and penalty.basis == "cosine"
        and len(seen.times) == len(grid)
        and seen.once
        and np.allclose(np.diff(grid), 1)
    )


def thresholded(y: np.ndarray, strength: float) -> Fitted:
    """min |y - w|^2 / (2 n) + strength |C (w - mean)|_1, C the orthonormal cosine transform.

    The coefficients of y, each brought n * strength nearer to zero. Cost O(n log n).
    """
    n = len(y)
    whole = scipy.fft.dct(y, norm="ortho")
    mean, whole[0] = y.mean(), 0.0
    kept = np.sign(whole) * np.maximum(np.abs(whole) - n * strength, 0.0)
    fit = scipy.fft.idct(kept, norm="ortho")
    objective = float(np.sum((whole - kept) ** 2)) / (2 * n) + strength * float(np.abs(kept).sum())
    return Fitted(
        fit + mean,
        strength,
        float(np.abs(whole).max()) / n,
        objective,
        0.0,
        1,
        True,
        np.flatnonzero(kept),
        kept,
    )
