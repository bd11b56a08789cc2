"""Classification: where normalised descent, plain descent and weight decay go, and max margins.

The runs know the loss and the factors alone; the prediction is a cone program in w.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from symbias.dynamics import (
    SGD,
    NormalizedDescent,
    Problem,
    log_logistic_loss,
    logistic_loss,
    simulate,
)
from symbias.estimators import DesignedClassifier
from symbias.maps import Cosine
from symbias.mechanisms import Margin, MaxMargin
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    MatrixProduct,
    Parameterization,
    Plain,
    Sum,
    Synthesis,
)
from symbias.studies.flow_limits import least_l1

Row = dict[str, Any]
PROBLEMS = ((20, 10), (20, 30), (100, 50))  # features, samples
STEPS = 300_000
STRENGTHS = tuple(10.0**-k for k in range(1, 8))
ON_PATHS = ("w", "u v", "s v, groups of 4")


class Setting(NamedTuple):
    """A parameterization of so many features (and classes), its degree, and its rival."""

    name: str
    of: Callable[[int], Parameterization]
    degree: int
    classes: int = 2

    def rival(self, size: int) -> Parameterization:
        """Another norm to tell this one apart from: l2, and l1 for l2 itself."""
        shape = self.of(size).shape
        return Hadamard(shape) if self.degree == 1 else Plain(shape)


SETTINGS = (
    Setting("w", Plain, 1),
    Setting("u v", Hadamard, 2),
    Setting("u1 u2 u3", lambda p: Hadamard(p, depth=3), 3),
    Setting("s v, groups of 4", lambda p: GroupProduct(p, groups=np.arange(p) // 4), 2),
    Setting("P Q, 5 columns", lambda p: MatrixProduct(p // 5, 5), 2),
    Setting("u v + cosines of u v", lambda p: Sum([Hadamard(p), _cosines(p)]), 2),
    Setting("u v, 3 classes", lambda p: Hadamard((p, 3)), 2, 3),
    Setting("P Q, 3 classes", lambda p: MatrixProduct(p, 3), 2, 3),
)


def _cosines(p: int) -> Synthesis:
    return Synthesis(Cosine(), Hadamard(p))


def separable(
    size: int, samples: int, seed: int, classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Normal inputs and the labels of a truth with three features: +1 and -1, or columns."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, size))
    truth = np.zeros((size, classes))
    truth[:3, 0] = [2.0, -1.0, 1.5]
    if classes == 2:
        return X, np.where(X @ truth[:, 0] > 0, 1.0, -1.0)
    truth[:3, 1:] = rng.normal(size=(3, classes - 1))
    return X, np.argmax(X @ truth, axis=1)


def direction_row(setting: Setting, size: int, samples: int, seed: int, steps: int = STEPS) -> Row:
    """One run of normalised descent from a random start, against the max margin.

    Returns
    -------
    dict
        "angle", in degrees, between run and prediction, "rival_angle" between run and the margin
        of another norm; "excess" of the run's 1/2 |theta|^2 at a least margin of 1 over the least
        R, as a share, and "rival_excess", that of the rival's w.
    """
    p = setting.of(size)
    X, y = separable(size, samples, seed, setting.classes)
    theta = descended(p, X, y, setting.degree, steps, seed)
    w = np.asarray(p(theta))
    inputs = X if setting.classes > 2 else X.reshape(-1, *p.shape)
    mechanism, start = MaxMargin(), w if setting.degree > 2 else None
    found = mechanism.direction(p, inputs, y, start=start)
    rival = mechanism.direction(setting.rival(size), inputs, y)
    half = sum(float(np.sum(a**2)) for a in theta.values()) / 2
    return {
        "setting": setting.name,
        "features": size,
        "samples": samples,
        "seed": seed,
        "steps": steps,
        "angle": angle(w, found.w),
        "rival_angle": angle(w, rival.w),
        "excess": half / _least(w, X, y) ** (2 / setting.degree) / found.R - 1,
        "rival_excess": _norm(p, rival) / found.R - 1,
        "gap": found.gap,
    }


def descended(
    p: Parameterization, X: np.ndarray, y: np.ndarray, degree: float, steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Factors of length 1 after normalised descent on the log of the logistic loss."""

    def predict(theta: Any, x: Any) -> Any:
        w = p(theta)
        return jnp.matmul(x, w if y.dtype.kind == "i" else jnp.reshape(w, (-1,)))

    problem = Problem(predict, p.init(seed), log_logistic_loss, data=(X, y))
    rule = NormalizedDescent(degree=degree)
    run = simulate(problem, rule, steps=steps, every=steps, progress=False)
    return {name: a[0] for name, a in run.final.items()}


def told_apart(rows: Sequence[Row]) -> Row:
    """Angles on problems of one setting and size, and on how many the norm is told apart.

    It is where the run is nearer to its own margin than to the rival's.
    """
    angles = [row["angle"] for row in rows]
    return {name: rows[0][name] for name in ("setting", "features", "samples")} | {
        "problems": len(rows),
        "median_angle": float(np.median(angles)),
        "largest_angle": max(angles),
        "least_rival_angle": min(row["rival_angle"] for row in rows),
        "told_apart": sum(row["angle"] < row["rival_angle"] for row in rows),
        "largest_gap": max(row["gap"] for row in rows),
    }


def rate_rows(decades: int = 6, size: int = 20, samples: int = 30, seed: int = 0) -> list[Row]:
    """Plain gradient descent on w: the angle to the l2 margin falls as 1/log t.

    "growth_error" is that of (w(t) - w(t/10)) / log 10, which tends to w of margin 1, as a share
    of that w.
    """
    X, y = separable(size, samples, seed)
    wanted = MaxMargin().direction(Plain(size), X, y).w
    problem = Problem(
        lambda theta, x: x @ theta["u"], {"u": np.zeros(size)}, logistic_loss, data=(X, y)
    )
    rate = 4 * len(X) / float(np.linalg.norm(X, 2)) ** 2
    steps = 10**decades
    run = simulate(
        problem, SGD(rate), steps=steps, every=100, observe={"w": lambda t: t["u"]}, progress=False
    )
    path = [run.trace.w[0].sel(step=10**k).values for k in range(2, decades + 1)]
    return [
        {"steps": 10**k} | _by_logarithm(before, now, wanted, k)
        for k, (before, now) in enumerate(pairwise(path), start=3)
    ]


def path_rows(
    strengths: Sequence[float] = STRENGTHS, size: int = 20, samples: int = 30, seed: int = 0
) -> list[Row]:
    """Weight decay of a falling strength: its minimum goes to the max margin of the same norm.

    Columns as in `rate_rows`, with 1/strength for t.
    """
    X, y = separable(size, samples, seed)
    rows = []
    for setting in (s for s in SETTINGS if s.name in ON_PATHS):
        p = setting.of(size)
        wanted = MaxMargin().direction(p, X, y).w
        fits = [DesignedClassifier(p, s, fit_intercept=False).fit(X, y) for s in strengths]
        path = [fit.coef_.ravel() for fit in fits]
        for strength, (before, now) in zip(strengths[1:], pairwise(path), strict=True):
            decades = -np.log10(strength)
            row = {"setting": setting.name, "strength": strength}
            rows.append(row | _by_logarithm(before, now, wanted, decades))
    return rows


def _by_logarithm(before: np.ndarray, now: np.ndarray, wanted: np.ndarray, decades: float) -> Row:
    """How far w is from its limit w / log -> ``wanted``, at 10^decades and a tenth of that."""
    growth = (now - before) / np.log(10)
    return {
        "angle": angle(now, wanted),
        "angle_times_log": angle(now, wanted) * float(np.log(10) * decades),
        "growth_error": float(np.linalg.norm(growth - wanted) / np.linalg.norm(wanted)),
    }


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Between two arrays, in degrees; exact for small ones."""
    a, b = (v.ravel() / np.linalg.norm(v) for v in (a, b))
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


def _least(w: np.ndarray, X: np.ndarray, y: np.ndarray) -> float:
    """The least margin of w, by its definition."""
    if y.dtype.kind == "f":
        return float(np.min(y * (X @ w.ravel())))
    scores = X @ w
    own = scores[np.arange(len(y)), y]
    others = np.where(np.arange(w.shape[1]) == y[:, None], -np.inf, scores)
    return float(np.min(own - others.max(axis=1)))


def _norm(p: Parameterization, rival: Margin) -> float:
    """R of another norm's w; of a sum of two l1 designs its least split, by linear programming."""
    if p.balanced_section:
        return float(p.balanced_norm(rival.w))
    columns = np.asarray(p.normal_form().linear.columns)
    return float(np.abs(least_l1(columns, rival.w.ravel())).sum())
