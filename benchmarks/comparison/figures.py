"""Time against the strength, and against the length and the number of jumps."""

from pathlib import Path

import numpy as np

from comparison.peers import peers
from comparison.problems import Problem
from comparison.timing import seconds
from symbias.report.style import axes, save

_FRACTIONS = (0.3, 0.1, 0.03, 0.01, 0.003)
_COLORS = {"symbias": "#1b6ca8", "celer": "#d1495b", "skglm": "#edae49", "scikit-learn": "#66a182"}


def strengths(problems: list[Problem], stem: Path) -> None:
    """One panel a problem, one line a solver."""
    with axes(8.0, 3.2, len(problems)) as (figure, panels):
        for problem, ax in zip(problems, panels, strict=True):
            solvers = peers(problem)
            found = [seconds(solvers, problem, f * problem.strength_max) for f in _FRACTIONS]
            for name in solvers:
                times = [at[name][0] for at in found]
                style = {"lw": 2.2 if name == "symbias" else 1.2, "marker": "o", "ms": 3}
                ax.plot(_FRACTIONS, times, label=name, color=_COLORS.get(name), **style)
            ax.set(xscale="log", yscale="log", xlabel="strength / strength_max", ylabel="seconds")
            ax.set_title(f"L1, {problem.name}, gap 1e-10")
            ax.invert_xaxis()
        panels[0].legend()
        _keep(figure, stem)


def lengths(rows: list[tuple[int, int, int, int, float, float]], stem: Path) -> None:
    """Left: time against n at 10 changes. Right: against the changes found at the largest n."""
    with axes(8.0, 3.2, 2) as (figure, panels):
        largest = max(n for order, n, *_ in rows if order == 2)
        for order, name, color in ((1, "TV", "#1b6ca8"), (2, "trend", "#d1495b")):
            own = [row for row in rows if row[0] == order]
            few = np.array([(n, took) for _, n, c, _, took, _ in own if c <= 10])
            panels[0].plot(*few.T, marker="o", ms=3, label=name, color=color)
            many = np.array([(k, took) for _, n, _, k, took, _ in own if n == largest])
            panels[1].plot(*many[np.argsort(many[:, 0])].T, marker="o", ms=3, color=color)
        for ax, label in zip(panels, ("stamps", f"changes found, {largest:,} stamps"), strict=True):
            ax.set(xscale="log", yscale="log", xlabel=label, ylabel="seconds")
        panels[0].legend()
        _keep(figure, stem)


def _keep(figure: object, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    save(figure, stem)
    stem.with_suffix(".png").unlink()
