"""Time and steps of designed training beside a convex program and scikit-learn's Lasso.

    python benchmarks/main_job.py            # all rows, about a minute on two cores
    python benchmarks/main_job.py l1 tv      # rows whose name begins so

Every number of a row is measured in this one run, at 0.1 strength_max and tol 1e-8. *first* is a
fit with nothing compiled, *warm* the median of three fits after it, *compile* their difference.
*cvxpy* is one convex program set up and solved (Clarabel, tolerances 1e-10), *lasso*
scikit-learn's coordinate descent at tol 1e-10. *excess* is the relative difference of the two
objectives, symbias less cvxpy. Times in seconds; they vary by half on a busy machine, ratios less.
"""

import sys
import warnings
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import cvxpy as cp
import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso

import symbias as sb

FRACTION = 0.1


class Job(NamedTuple):
    """A regression, a penalty, and the same penalty for cvxpy and in numbers."""

    name: str
    X: np.ndarray
    y: np.ndarray
    penalty: sb.Penalty
    expression: Callable[[Any], Any]


def jobs() -> list[Job]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2000))
    y = X[:, :10] @ rng.normal(size=10) + 0.5 * rng.normal(size=200)
    groups = np.repeat(np.arange(100), 5)
    G = rng.normal(size=(300, 500))
    g = G[:, :15] @ rng.normal(size=15) + 0.5 * rng.normal(size=300)

    def group_norms(w: Any) -> Any:
        return np.sqrt(5) * cp.sum(cp.norm2(cp.reshape(w, (100, 5), order="C"), axis=1))

    found = [
        Job("l1 diabetes 442 x 10", *load_diabetes(return_X_y=True), sb.L1(), cp.norm1),
        Job("l1 200 x 2000", X, y, sb.L1(), cp.norm1),
        Job("group 300 x 500", G, g, sb.GroupLasso(groups), group_norms),
    ]
    for n in (100, 300, 1000):
        levels = np.repeat(rng.normal(size=5), n // 5) + 0.3 * rng.normal(size=n)
        found.append(Job(f"tv n = {n}", np.eye(n), levels, sb.TotalVariation(), cp.tv))
    for n in (100, 300):
        line = np.abs(np.linspace(-3, 3, n)) + 0.3 * rng.normal(size=n)
        kinks = lambda w: cp.norm1(cp.diff(w, 2))  # noqa: E731
        found.append(Job(f"trend n = {n}", np.eye(n), line, sb.TrendFilter(), kinks))
    return found


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = perf_counter()
    value = run()
    return perf_counter() - start, value


def objective(job: Job, strength: float, w: np.ndarray, b: float) -> float:
    r = job.y - job.X @ w - b
    return float(np.mean(r**2) / 2 + strength * job.penalty(w))


def convex(job: Job, strength: float) -> tuple[np.ndarray, float]:
    w, b = cp.Variable(job.X.shape[1]), cp.Variable()
    loss = cp.sum_squares(job.y - job.X @ w - b) / (2 * len(job.y))
    scale = float(np.var(job.y))
    problem = cp.Problem(cp.Minimize((loss + strength * job.expression(w)) / scale))
    problem.solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return w.value, float(b.value)


def measure(job: Job) -> list[str]:
    top = sb.DesignedRegressor(job.penalty, 1e9).fit(job.X, job.y).strength_max_
    strength = FRACTION * top
    model = sb.DesignedRegressor(job.penalty, strength)
    jax.clear_caches()
    first, _ = timed(lambda: model.fit(job.X, job.y))
    warm = median(timed(lambda: model.fit(job.X, job.y))[0] for _ in range(3))
    by_cvxpy, (w, b) = timed(lambda: convex(job, strength))
    best = objective(job, strength, w, b)
    excess = (objective(job, strength, model.coef_, model.intercept_) - best) / best
    lasso, ratio = "", ""
    if isinstance(job.penalty, sb.L1):
        other = Lasso(strength, tol=1e-10, max_iter=100_000)
        seconds, _ = timed(lambda: other.fit(job.X, job.y))
        lasso, ratio = f"{seconds:.4f}", f"{warm / seconds:.1f}"
    numbers = [
        f"{first:.2f}",
        f"{first - warm:.2f}",
        f"{warm:.4f}",
        str(model.n_iter_),
        f"{by_cvxpy:.3f}",
    ]
    return [job.name, *numbers, f"{warm / by_cvxpy:.2f}", lasso, ratio, f"{excess:.1e}"]


def main(wanted: list[str]) -> None:
    table = Table(title=f"strength = {FRACTION} strength_max, tol 1e-8, L-BFGS")
    table.add_column("job")
    times = ["first", "compile", "warm", "steps", "cvxpy", "warm/cvxpy", "lasso", "warm/lasso"]
    for heading in [*times, "excess"]:
        table.add_column(heading, justify="right")
    for job in jobs():
        if not wanted or job.name.startswith(tuple(wanted)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of cvxpy, about its last digits
                table.add_row(*measure(job))
    Console(width=120).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
