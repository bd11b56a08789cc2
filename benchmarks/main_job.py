"""The main job beside the solvers that a user would take instead, in one run.

    python benchmarks/main_job.py             # all: about 15 minutes on two cores
    python benchmarks/main_job.py --quick     # small sizes, a minute
    python benchmarks/main_job.py --write     # also into docs/main-job.md, and its two figures

Peers (``pip install symbias[peers]``) are left out where they are not installed. Every solver runs
at one BLAS thread, to a relative duality gap of 1e-10 that one function measures for all, each at
the loosest tolerance of its own that gets there; the least of up to nine runs in turns, after a
first call in which just-in-time compilers compile. *ratio* is symbias over the best peer.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from comparison import figures, series
from comparison.peers import peers
from comparison.problems import Problem, classification, regression
from comparison.timing import seconds
from threadpoolctl import threadpool_limits

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- numbers -->", "<!-- end of numbers -->"

Row = list[str]


def rows_of(problem: Problem, fractions: tuple[float, ...]) -> list[tuple[Row, float]]:
    """One row a strength, and its ratio."""
    rows = []
    for fraction in fractions:
        strength = fraction * problem.strength_max
        found = seconds(peers(problem), problem, strength)
        ours, gap = found.pop("symbias")
        others = {name: took for name, (took, _) in found.items() if np.isfinite(took)}
        best = min(others, key=lambda name: others[name]) if others else "-"
        ratio = ours / others[best] if others else float("nan")
        rest = ", ".join(
            f"{name} {took:.4f}" if np.isfinite(took) else f"{name} (gap {reached:.0e})"
            for name, (took, reached) in found.items()
        )
        row = [problem.name, f"{fraction:g}", f"{ours:.4f}", f"{gap:.0e}", rest, f"{ratio:.2f}"]
        rows.append((row, ratio))
        print("  ", *row, flush=True)
    return rows


def solvers(quick: bool) -> tuple[list[Row], list[float]]:
    """The rows of the table of solvers."""
    cases = [
        (lambda: regression("L1, 200 x 2,000", 200, 2_000), (0.1, 0.01)),
        (lambda: regression("L1, 500 x 5,000 (AR .5)", 500, 5_000, 0.5), (0.1, 0.01)),
        (lambda: regression("L1, 1,000 x 10,000 (AR .7)", 1_000, 10_000, 0.7), (0.1, 0.01)),
        (lambda: regression("L1, 20,000 x 200", 20_000, 200), (0.1, 0.01)),
        (lambda: regression("group of 10, 300 x 3,000", 300, 3_000, size=10), (0.1, 0.02)),
        (lambda: classification("logistic L1, 400 x 1,000", 400, 1_000), (0.1, 0.02, 0.005)),
    ]
    if quick:
        cases = [cases[0], cases[4], cases[5]]
    rows = [row for make, fractions in cases for row in rows_of(make(), fractions)]
    return [row for row, _ in rows], [ratio for _, ratio in rows]


def path_with_folds() -> Row:
    """Five folds, 30 strengths, 500 x 300."""
    from sklearn.linear_model import LassoCV

    import symbias as sb

    problem = regression("L1 path, 5 folds x 30 strengths, 500 x 300", 500, 300)
    grid = np.geomspace(problem.strength_max, 1e-2 * problem.strength_max, 30)

    def ours() -> None:
        sb.DesignedRegressorCV("l1", strengths=grid, cv=5).fit(problem.X, problem.y)

    def theirs() -> None:
        LassoCV(alphas=grid, cv=5, n_jobs=1).fit(problem.X, problem.y)

    times = [min(_time(run) for _ in range(5)) for run in (ours, theirs)]
    row = [problem.name, "all", f"{times[0]:.4f}", "1e-10", f"LassoCV (tol 1e-4) {times[1]:.4f}"]
    return [*row, f"{times[0] / times[1]:.2f}"]


def first_fit() -> Row:
    """A new process: interpreter, imports, one fit of 442 x 10."""
    load = "from sklearn.datasets import load_diabetes as d; X, y = d(return_X_y=True); "
    code = {
        "symbias": f"import symbias as sb; {load}sb.DesignedRegressor('l1', 0.1).fit(X, y)",
        "sklearn": f"from sklearn.linear_model import Lasso; {load}Lasso(0.1).fit(X, y)",
    }

    one = os.environ | {"OPENBLAS_NUM_THREADS": "1"}

    def run(name: str) -> float:
        return _time(
            lambda: subprocess.run([sys.executable, "-c", code[name]], check=True, env=one)
        )

    found = {name: [] for name in code}
    for _ in range(5):
        for name in code:
            found[name].append(run(name))
    ours, theirs = (min(found[name]) for name in code)
    row = ["first L1 fit in a new process", "", f"{ours:.2f}", "", f"scikit-learn {theirs:.2f}"]
    return [*row, f"{ours / theirs:.2f}"]


def _time(run) -> float:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run()
    return time.perf_counter() - start


def markdown(header: Row, rows: list[Row]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines)


def report(quick: bool, write: bool) -> None:
    """Measure, print, and write."""
    rows, ratios = solvers(quick)
    rows.append(path_with_folds())
    rows.append(first_fit())
    head = ["problem", "strength / max", "symbias (s)", "gap", "peers (s)", "ratio"]
    table = markdown(head, rows)
    summary = f"Ratios of the solver rows: median {median(ratios):.2f}, largest {max(ratios):.2f}."
    print(table, summary, sep="\n\n", flush=True)

    sizes = (1_000, 3_000) if quick else (1_000, 3_000, 100_000)
    beside = [row for n in sizes for row in series.beside_clarabel(n)]
    head = ["", "n", "changes", "knots (s)", "gap", "Clarabel (s)", "times faster", "objective"]
    beside_table = markdown(head, beside)
    print(beside_table, flush=True)
    long = series.long(quick)
    head = ["", "n", "changes in the data", "found", "seconds", "gap"]
    names = {1: "TV", 2: "trend"}
    cells = [
        [names[order], f"{n:,}", f"{c:,}", f"{found:,}", f"{took:.3f}", f"{gap:.0e}"]
        for order, n, c, found, took, gap in long
    ]
    long_table = markdown(head, cells)
    print(long_table, flush=True)
    if write:
        shapes = [regression("200 x 2,000", 200, 2_000), regression("20,000 x 200", 20_000, 200)]
        figures.strengths(shapes, DOCS / "assets" / "strengths")
        figures.lengths(long, DOCS / "assets" / "lengths")
        page = DOCS / "main-job.md"
        text = "\n\n".join([table, summary, beside_table, long_table])
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--write", action="store_true", help="write into docs/")
    options = parser.parse_args()

    with threadpool_limits(limits=1):
        report(options.quick, options.write)


if __name__ == "__main__":
    main()
