"""Total variation and trend filtering: knots beside Clarabel, and time against length and jumps."""

import time

import numpy as np

from comparison.problems import slopes, steps
from symbias.solvers import Series
from symbias.solvers.reference import series_reference

TOL = 1e-8


def strength_of(order: int, n: int, changes: int) -> float:
    """About where the changes are found: of the size of the noise over a stretch."""
    length = n / (changes + 1)
    return (2 * length**0.5 if order == 1 else 0.3 * length**1.5) / n


def fit(y: np.ndarray, order: int, strength: float) -> tuple[float, float, int]:
    """Seconds, relative gap, changes found."""
    start = time.perf_counter()
    found = Series(y, order).solve(strength, tol=TOL)
    return time.perf_counter() - start, found.violation, len(found.knots)


def beside_clarabel(n: int, changes: int = 10) -> list[list[str]]:
    rows = []
    for order, name in ((1, "TV"), (2, "trend")):
        y = (steps if order == 1 else slopes)(n, changes)
        strength = strength_of(order, n, changes)
        ours = min(fit(y, order, strength)[0] for _ in range(3))
        _, gap, found = fit(y, order, strength)
        start = time.perf_counter()
        times, weights = np.arange(n, dtype=float), np.full(n, 1 / n)
        try:
            _, theirs = series_reference(y, strength, order, times, weights)
            took = time.perf_counter() - start
            mine = Series(y, order).solve(strength, tol=TOL).objective
            rows.append([name, f"{n:,}", f"{found}", f"{ours:.3f}", f"{gap:.0e}", f"{took:.2f}",
                         f"{took / ours:.0f}", f"{mine / theirs - 1:.0e}"])  # fmt: skip
        except ValueError as error:
            took = time.perf_counter() - start
            rows.append([name, f"{n:,}", f"{found}", f"{ours:.3f}", f"{gap:.0e}",
                         f"{error} after {took:.1f} s", "-", "-"])  # fmt: skip
    return rows


def long(quick: bool) -> list[tuple[int, int, int, int, float, float]]:
    """(order, n, changes in the data, changes found, seconds, gap)."""
    largest = 100_000 if quick else 1_000_000
    cases = [(order, n, 10) for order in (1, 2) for n in _lengths(largest)]
    cases += [
        (order, largest, c) for order in (1, 2) for c in (100, 1000, 10_000) if c * 100 <= largest
    ]
    if not quick:
        cases.append((1, 10_000_000, 100))
    rows = []
    for order, n, changes in cases:
        y = (steps if order == 1 else slopes)(n, changes)
        took, gap, found = fit(y, order, strength_of(order, n, changes))
        rows.append((order, n, changes, found, took, gap))
    return rows


def _lengths(largest: int) -> list[int]:
    return [n for n in (1_000, 10_000, 100_000, 1_000_000) if n <= largest]
