"""Incremental learning: order and times of what is learned, and the staircase of the loss.

Entries of w = u v here, directions of W = P Q in `symbias.studies.greedy_rank`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from symbias._core.files import replace_file
from symbias._version import __version__
from symbias.mechanisms import GradientFlow, Incremental, incremental
from symbias.parameterizations import Hadamard, Products
from symbias.report.page import Section, render
from symbias.studies import greedy_rank
from symbias.studies.clock import Clock
from symbias.studies.descent import descent

Row = dict[str, Any]
Say = Callable[[str], None]
CHARGES = (1e-8, 1e-14, 1e-28, 1e-56)
PROBLEMS, SAMPLES, SIZE = 20, 40, 8
_INTRO = (
    "From a small start gradient flow on w = u v learns one entry after the other, on W = P Q one "
    "direction. The laws say which, and when; the runs know the loss and the factors alone."
)


def problem(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent inputs, a dense truth and noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((SAMPLES, SIZE))
    return x, x @ (2 * rng.standard_normal(SIZE)) + rng.standard_normal(SAMPLES)


def weights(x: np.ndarray, y: np.ndarray, charge: float, times: np.ndarray) -> np.ndarray:
    """w = u v at these times along the flow from u = sqrt(charge), v = 0: array (p, times)."""
    p = Hadamard(x.shape[1])
    return coordinates(p.products(GradientFlow(float(np.sqrt(charge))).init(p)), x, y, times)


def coordinates(start: Products, x: np.ndarray, y: np.ndarray, times: np.ndarray) -> np.ndarray:
    """h(z), z products of numbers, along the flow of their factors: array (size, times).

    Two factors as u + v and u - v, which keep their relative precision however small they are.
    """
    free, shape = len(start.plain), start.factors.shape
    pairs = shape[0] == 2

    def at(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        f = state[free:].reshape(shape)
        z = (f[0] ** 2 - f[1] ** 2) / 2 if pairs else np.prod(f, axis=0)
        return np.concatenate([state[:free], z]), f

    def field(_: float, state: np.ndarray) -> np.ndarray:
        z, f = at(state)
        link = start.link
        w, slope = (z, 1.0) if link is None else (link.forward(z), link.slope(z))
        g = x.T @ (y - x @ w) / len(x) * slope
        if pairs:
            moved = g[free:] * f * np.array([[1.0], [-1.0]])
        else:
            moved = g[free:] * np.stack(
                [np.prod(np.delete(f, k, axis=0), 0) for k in range(len(f))]
            )
        return np.concatenate([g[:free], moved.ravel()])

    u, v = start.factors[:2]
    factors = np.stack([u + v, u - v]) / np.sqrt(2) if pairs else start.factors
    exact = 1e-14 * np.abs(factors).max(initial=0.0) if len(factors) > 2 else 1e-250
    atol = np.full(free + factors.size, exact)
    atol[:free] = 1e-12 if start.link is None else 1e-250
    flow = solve_ivp(field, (0, times[-1]), np.concatenate([start.plain, factors.ravel()]),
                     method="LSODA", t_eval=times, rtol=1e-9, atol=atol)  # fmt: skip
    z = np.stack([at(state)[0] for state in flow.y.T], axis=1)
    return z if start.link is None else np.asarray(start.link.forward(z))


def measured(
    law: Incremental, x: np.ndarray, y: np.ndarray, start: Products | None = None
) -> np.ndarray:
    """When each entry that switches on passes half of its next plateau, along the flow."""
    edges = [np.linspace(0.9, 1.1, 4000) * event.time for event in law.events]
    grid = np.unique(np.concatenate([np.linspace(0, 1.2 * law.events[-1].time, 20_000), *edges]))
    along = weights(x, y, law.charge, grid) if start is None else coordinates(start, x, y, grid)
    times, before = [], 0.0
    for event, plateau in zip(law.events, law.plateaus[1:], strict=True):
        if event.on:
            end = plateau[event.entry]
            over = np.sign(end) * along[event.entry] >= abs(end) / 2
            at = np.flatnonzero(over & (grid > before))
            times.append(grid[at[0]] if at.size else np.nan)
            before = event.time
    return np.array(times)


def charge_row(charge: float, count: int = PROBLEMS) -> Row:
    """Errors of the times on the first problems whose events are all separable."""
    errors, limits, ordered, tried, found = [], [], 0, 0, 0
    while found < count:
        x, y = problem(tried)
        tried += 1
        law = incremental(x, y, charge=charge)
        if not all(event.separable for event in law.events):
            continue
        found += 1
        times = measured(law, x, y)
        on = [event for event in law.events if event.on]
        ordered += bool(np.all(np.diff(times) > 0))
        errors += [abs(event.time / t - 1) for event, t in zip(on, times, strict=True)]
        limit = {e.entry: e.time for e in incremental(x, y, charge=charge, limit=True).events}
        limits += [
            abs(limit[e.entry] / t - 1) for e, t in zip(on, times, strict=True) if e.entry in limit
        ]
    return {
        "charge": charge,
        "problems": count,
        "tried": tried,
        "in_order": ordered,
        "median_error": float(np.median(errors)),
        "largest_error": float(np.max(errors)),
        "median_error_of_limit": float(np.median(limits)),
    }


def staircase(seed: int = 0, charge: float = 1e-8, rate: float = 2e-3) -> Row:
    """The loss of a run of descent through `simulate`, and the law's."""
    x, y = problem(seed)
    law, p = incremental(x, y, charge=charge), Hadamard(SIZE)
    start = GradientFlow(float(np.sqrt(charge))).init(p)
    every = 50
    steps = int(1.3 * law.events[-1].time / rate / every) * every
    run = descent(p, start, x, y, rate, steps=steps, every=every)
    w = np.asarray(run.trace.w)[0]
    return {
        "times": (rate * np.asarray(run.trace.step)).tolist(),
        "loss": (np.sum((w @ x.T - y) ** 2, axis=1) / (2 * SAMPLES)).tolist(),
        "w": w.tolist(),
        "events": [{"entry": e.entry, "on": e.on, "time": e.time} for e in law.events],
        "losses": law.losses.tolist(),
    }


def measure(quick: bool = False, say: Say = lambda line: None) -> dict[str, Any]:
    """Errors of the times at four charges, and a staircase; ``quick``: of fewer problems."""
    rows = []
    for charge in CHARGES:
        rows.append(charge_row(charge, 4 if quick else PROBLEMS))
        say(", ".join(_cells(rows[-1])))
    return {"rows": rows, "staircase": staircase()}


def run(out: str | Path, quick: bool = False, progress: bool = True) -> dict[str, Any]:
    """Run all; write ``incremental.json`` and ``index.html`` to `out`.

    Parameters
    ----------
    out : path
        Folder, made if needed.
    quick : bool
        Four problems for each charge instead of twenty, three of matrices instead of ten.
    progress : bool
        Lines on standard output, as in the documentation.
    """
    folder, clock = Path(out), Clock(progress)
    folder.mkdir(parents=True, exist_ok=True)
    result = {
        "symbias": __version__,
        "quick": quick,
        **measure(quick, clock.say),
        "matrices": greedy_rank.measure(quick, clock.say),
    }
    replace_file(folder / "incremental.json", json.dumps(result) + "\n")
    replace_file(folder / "index.html", page(result))
    return result


_HEADER = ["charge", "in order", "error of times, median", "largest", "of the limit's, median"]


def _cells(row: Row) -> list[str]:
    return [
        f"{row['charge']:.0e}",
        f"{row['in_order']} of {row['problems']}",
        f"{row['median_error']:.2%}",
        f"{row['largest_error']:.2%}",
        f"{row['median_error_of_limit']:.1%}",
    ]


def page(result: dict[str, Any]) -> str:
    """HTML of the whole."""
    footer = f"symbias {__version__}. The numbers stand in incremental.json, beside this page."
    sections = [section(result), greedy_rank.section(result["matrices"])]
    return render("Incremental learning", _INTRO, sections, footer)


def section(result: dict[str, Any]) -> Section:
    """The entries of u v."""
    rows = result["rows"]
    worst = max(row["largest_error"] for row in rows)
    in_order, problems = (sum(row[k] for row in rows) for k in ("in_order", "problems"))
    return Section(
        "Entries of u v",
        answer=f"The order is right on {in_order} of {problems} problems whose events are 5% "
        f"apart, and every time to {worst:.1%}.",
        figures=[("Loss and weights of gradient descent; dashed, the law.", figure(result))],
        tables=[("Relative errors of the times, by the charge of the start.",
                 [_HEADER, *map(_cells, rows)])],
    )  # fmt: skip


def figure(result: dict[str, Any]) -> str:
    """The staircase of the loss over the weights, as a data URI."""
    from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, svg

    run = result["staircase"]
    times, events = np.array(run["times"]), run["events"]
    with axes(6.0, 4.2) as (drawn, ax):
        ax.remove()
        above, below = drawn.subplots(2, 1, sharex=True)
        above.plot(times, run["loss"], color=FIT, label="gradient descent")
        edges = [times[1], *(e["time"] for e in events), times[-1]]
        above.stairs(run["losses"], edges, color=INK, ls="--", baseline=None, label="law")
        above.set(xscale="log", yscale="log", ylabel="loss")
        above.legend()
        colors = (FIT, MARK, DATA, SOFT, "#CC79A7", "#009E73", "#56B4E9", "#E69F00")
        for entry, values in enumerate(np.array(run["w"]).T):
            below.plot(times, values, color=colors[entry % len(colors)], lw=1.2)
        for event in events:
            below.axvline(event["time"], color=INK, ls="--", lw=0.6)
        below.set(
            xlabel="learning rate times steps", ylabel="w", xlim=(events[0]["time"] / 3, None)
        )
        return svg(drawn)
