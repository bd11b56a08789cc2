"""Checks of a parameterization in classification, under Adam, step sizes and small starts."""

import numpy as np

from symbias.mechanisms import (
    Adam,
    AdamW,
    MaxMargin,
    degree,
    reachable,
)
from symbias.mechanisms import greedy_rank as law_of_matrices
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Parameterization
from symbias.studies import adaptive, greedy_rank, small_starts
from symbias.studies.margins import angle, descended
from symbias.studies.sharpness import SAME, SHARES, quietly
from symbias.studies.verification import Verification

EXCESS = 0.01  # of R of a run over that predicted, relative
RATIO = 0.98  # of the largest margin at norm 1
TIMES = 0.02  # relative errors of the times of incremental learning
CHARGE = 1e-14
KKT = 1e-4  # residual of a run of AdamW
BETAS = adaptive.BETAS[0]
STEPS = {"max margin": 300_000, "Adam": 100_000, "AdamW": 200_000, "step size": 20_000}


def _separable(p: Parameterization, key: int) -> tuple[np.ndarray, np.ndarray]:
    """Few samples, labelled by a w of two entries."""
    rng = np.random.default_rng(key)
    X = rng.normal(size=(6, int(np.prod(p.shape))))
    truth = np.zeros(X.shape[1])
    truth[:2] = [2.0, -1.0 if p.signed else 1.0]
    X[::2] *= np.where(X[::2] @ truth > 0, 1, -1)[:, None]  # both classes, half of each
    X[1::2] *= np.where(X[1::2] @ truth > 0, -1, 1)[:, None]
    return X, np.where(X @ truth > 0, 1.0, -1.0)


def check_max_margin(p: Parameterization, *, key: int = 0) -> Verification:
    """Direction of normalised descent from a random start, against the least R."""
    mechanism, power = MaxMargin(), degree(p)
    mechanism.induced(p)  # refuses before the run
    X, y = _separable(p, key)
    w = np.asarray(p(descended(p, X, y, power, STEPS["max margin"], key)))
    start = w if power > 2 else None
    found = mechanism.direction(p, X.reshape(-1, *p.shape), y, start=start)
    scaled = w / np.min(y * (X @ w.ravel()))
    excess = float(p.balanced_norm(scaled)) / found.R - 1
    kind = "the least R" if found.least else "a stationary point on the support of the run"
    return Verification(
        "max margin",
        "R at margin 1, less that predicted",
        excess,
        EXCESS,
        "verified" if abs(excess) <= EXCESS else "failed",
        f"{kind}; {angle(w, found.w):.2g} degrees from its w",
        (found.w.ravel(), scaled.ravel()),
    )


def check_adam(p: Parameterization, *, key: int = 0) -> Verification:
    """Margin of a run of Adam at norm 1, over the largest."""
    mechanism = Adam(BETAS)
    norm = mechanism.induced(p)  # refuses before the run
    X, y = _separable(p, key)
    w = adaptive.trained(p, X, y, adaptive.SETTINGS[0].transformation(), STEPS["Adam"], key)
    found = mechanism.direction(p, X.reshape(-1, *p.shape), y)
    ratio = float(np.min(y * (X @ w.ravel())) / float(norm(w)) * found.R)
    return Verification(
        "Adam",
        "share of the largest margin",
        ratio,
        RATIO,
        "verified" if ratio >= RATIO else "failed",
        f"at 1 of the norm {norm.formula}",
        (found.w.ravel(), (w / float(norm(w)) * found.R).ravel()),
    )


def check_adamw(p: Parameterization, *, key: int = 0) -> Verification:
    """KKT residual of a run of AdamW on least squares; the least of all where the box is known."""
    rng = np.random.default_rng(key)
    size = int(np.prod(p.shape))
    X = np.linalg.qr(rng.normal(size=(4 * size, size)))[0] * np.sqrt(4 * size)
    X = X @ np.linalg.inv(synthesis_matrix(p))  # white in the coordinates of w
    theta = {name: rng.uniform(-2, 2, shape) for name, shape in p.shapes.items()}
    y = X @ np.asarray(p(theta)).ravel()  # by factors of which half are outside of the box
    mechanism = AdamW(1.0, BETAS)
    theta = adaptive.decayed(p, X, y, BETAS, 1.0, STEPS["AdamW"], key)
    w = np.asarray(p(theta))
    gradient = (X.T @ (X @ w.ravel() - y) / len(y)).reshape(p.shape)
    at = mechanism.kkt(p, theta, gradient)
    worst = max(at.residual, at.largest - mechanism.wall)
    note = f"{sum(int(np.sum(np.abs(a) > 1 - 1e-6)) for a in theta.values())} factors on the wall"
    points = None
    if mechanism.induced(p).whole:
        least = mechanism.least_squares(p, X.reshape(-1, *p.shape), y)
        losses = [float(np.sum((X @ v.ravel() - y) ** 2)) for v in (w, least)]
        note += f"; loss {losses[0] / losses[1] - 1:.1g} above the least in the box of w"
        points = least.ravel(), w.ravel()
    else:
        clipped = {k: np.clip(a, -1, 1) for k, a in theta.items()}
        points = np.asarray(p(clipped)).ravel(), w.ravel()
    return Verification(
        "AdamW", "KKT residual", worst, KKT, "verified" if worst <= KKT else "failed", note, points
    )


def check_step_size(p: Parameterization, *, key: int = 0) -> Verification:
    """Descent from beside the flattest factors of a w, at rates below and above the largest."""
    rng = np.random.default_rng(key)
    size = int(np.prod(p.shape))
    w = rng.standard_normal(p.shape)
    w = (np.sign(w) if p.signed else 1.0) * (0.5 + np.abs(w))
    X = rng.standard_normal((size // 2, size))
    flattest = reachable(p, w, 1.0, X.reshape(-1, *p.shape))
    near = {k: v + 1e-3 * rng.standard_normal(v.shape) for k, v in flattest.theta.items()}
    y, away, steps = X @ w.ravel(), [], STEPS["step size"]
    for share in SHARES:
        rate = share * flattest.largest_rate()
        run = quietly(p, near, X, y, rate, steps=steps, every=steps)
        end = np.asarray(p({k: a[0] for k, a in run.final.items()}))
        lost = run.diverged[0] >= 0
        away.append(np.inf if lost else float(np.abs(end - w).max() / np.abs(w).max()))
    right = away[0] <= SAME < away[1]
    above = "diverges" if np.isinf(away[1]) else f"ends {away[1]:.2g} of |w| away"
    return Verification(
        "step size",
        f"distance of the end from w at {SHARES[0]:g} of the largest rate",
        away[0],
        SAME,
        "verified" if right else "failed",
        f"at {SHARES[1]:g} of it the run {above}",
    )


def check_entries(p: Parameterization) -> Verification:
    """Times at which entries or groups of w are learned from a small start, against their law."""
    (found,) = small_starts.separable(p, CHARGE, 1).items()
    seed, law = found
    told = np.array([event.time for event in law.events if event.on])
    what = "entries" if p.products(small_starts.start(p, CHARGE)) is not None else "groups"
    return _in_order(told, small_starts.times_of(p, seed, CHARGE, law), what)


def check_directions(shape: tuple[int, ...], *, key: int = 0) -> Verification:
    """Times at which directions of W = P Q are learned from a small start, against their law."""
    x, y = greedy_rank.problem(key, shape)
    law = law_of_matrices(x, y, charge=CHARGE)
    told = np.array([event.time for event in law.events])
    return _in_order(told, greedy_rank.measured(law, x, y)[0], "directions")


def _in_order(told: np.ndarray, times: np.ndarray, what: str) -> Verification:
    error = float(np.max(np.abs(told / times - 1)))
    right = error <= TIMES and bool(np.all(np.diff(times) > 0))
    return Verification(
        "small start",
        "largest relative error of the times",
        error,
        TIMES,
        "verified" if right else "failed",
        f"{len(times)} {what} in order, charge {CHARGE:.0e}",
        (told, times),
    )
