"""Greedy low rank of W = P Q: which direction is learned when, the second half of `incremental`."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from symbias.mechanisms import GradientFlow, GreedyRank, greedy_rank
from symbias.parameterizations import MatrixProduct
from symbias.report.page import Section
from symbias.studies.descent import descent

Row = dict[str, Any]
CHARGES = (1e-8, 1e-16, 1e-32)
PROBLEMS, SAMPLES, SHAPE = 10, 60, (4, 5)
NEAR, SWEEPS = 0.9, 6  # a cosine of columns that are made orthogonal; passes over all pairs


def problem(seed: int, shape: Sequence[int] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Independent Gaussian measurements of a matrix with exponential singular values, and noise."""
    rng = np.random.default_rng(seed)
    d, m = shape
    rank = min(shape)
    x = rng.standard_normal((SAMPLES, d, m))
    u, v = (np.linalg.qr(rng.standard_normal((k, k)))[0] for k in shape)
    truth = u[:, :rank] * (2 * rng.exponential(size=rank)) @ v[:rank]
    return x, np.tensordot(x, truth, 2) + 0.1 * rng.standard_normal(SAMPLES)


def gradient(x: np.ndarray, y: np.ndarray, W: np.ndarray) -> np.ndarray:
    """-grad of sum (<X_i, W> - y_i)^2 / 2n."""
    return np.tensordot(y - np.tensordot(x, W, 2), x, 1) / len(y)


def products(x: np.ndarray, y: np.ndarray, charge: float, times: np.ndarray) -> np.ndarray:
    """W = P Q at these times along the flow from P = sqrt(charge) 1, Q = 0: (times, d, m).

    Columns of (P; Q^T) as unit vectors and logarithms of their lengths, however small they are.
    W is the same in any rotation of the inner dimension: columns that have come near one another
    are made orthogonal again, else rounding of the long ones would drown what is short.
    """
    d, m = x.shape[1:]
    count = min(d, m)

    def field(_: float, state: np.ndarray) -> np.ndarray:
        z, logs = state[:-count].reshape(d + m, count), state[-count:]
        G = gradient(x, y, (z[:d] * np.exp(2 * logs)) @ z[d:].T)
        moved = np.concatenate([G @ z[d:], G.T @ z[:d]])
        growth = np.sum(z * moved, axis=0) / np.sum(z * z, axis=0)
        return np.concatenate([(moved - growth * z).ravel(), growth])

    def near(_: float, state: np.ndarray) -> float:
        z = state[:-count].reshape(d + m, count)
        return float(np.abs(z.T @ z - np.eye(count)).max()) - NEAR

    near.terminal = True  # type: ignore[attr-defined]
    left = np.linalg.svd(gradient(x, y, np.zeros((d, m))))[0]
    z = np.eye(d + m, count) @ np.linalg.qr(left[:count])[0]
    state = np.concatenate([z.ravel(), np.full(count, np.log(charge) / 2)])
    time, found = 0.0, [np.zeros((0, state.size))]
    while sum(map(len, found)) < len(times):
        wanted = times[sum(map(len, found)) :]
        flow = solve_ivp(field, (time, times[-1]), state, method="LSODA", t_eval=wanted, rtol=1e-11,
                         atol=1e-13, events=near)  # fmt: skip
        found.append(flow.y.T)
        if flow.status != 1:
            break
        time, state = flow.t_events[0][0], _orthogonal(flow.y_events[0][0], count)
    states = np.concatenate(found)
    columns = states[:, :-count].reshape(-1, d + m, count) * np.exp(states[:, None, -count:])
    return np.einsum("tik,tjk->tij", columns[:, :d], columns[:, d:])


def _orthogonal(state: np.ndarray, count: int) -> np.ndarray:
    """Rotations of pairs of columns until all are orthogonal (Hestenes' one-sided Jacobi)."""
    z, logs = state[:-count].reshape(-1, count).copy(), state[-count:].copy()
    for _ in range(SWEEPS):
        for i, j in combinations(range(count), 2):
            long, short = (i, j) if logs[i] >= logs[j] else (j, i)
            ratio = np.exp(logs[short] - logs[long])
            angle = np.arctan2(2 * ratio * (z[:, i] @ z[:, j]), 1 - ratio**2) / 2
            cos, sin = np.cos(angle), np.sin(angle)
            a = cos * z[:, long] + sin * ratio * z[:, short]
            b = cos * z[:, short] - sin / ratio * z[:, long]
            for k, column in ((long, a), (short, b)):
                length = np.linalg.norm(column)
                z[:, k], logs[k] = column / length, logs[k] + np.log(length)
    return np.concatenate([z.ravel(), logs])


def measured(law: GreedyRank, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """When each singular value passes half of its plateau, and how near W comes to each plateau."""
    edges = [np.linspace(0.8, 1.2, 2000) * event.time for event in law.events]
    grid = np.unique(np.concatenate([np.linspace(0, 1.4 * law.events[-1].time, 4000), *edges]))
    W = products(x, y, law.charge, grid)
    s, steps = np.linalg.svdvals(W), np.linalg.svdvals(law.plateaus)
    times = [
        _crossing(grid, s[:, event.rank - 1], steps[event.rank, event.rank - 1] / 2)
        for event in law.events
    ]
    near = [
        np.linalg.norm(W - plateau, axis=(1, 2)).min() / np.linalg.norm(plateau)
        for plateau in law.plateaus[1:]
    ]
    return np.array(times), np.array(near)


def _crossing(times: np.ndarray, values: np.ndarray, level: float) -> float:
    """When the values first reach a level, between times; nan where they do not."""
    if not np.any(values >= level):
        return np.nan
    k = max(int(np.argmax(values >= level)), 1)
    return float(np.interp(level, values[k - 1 : k + 1], times[k - 1 : k + 1]))


def leading(law: GreedyRank, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The times to leading order in log(1/c), for generic directions.

    Logarithms of the columns that are left fall at the singular values of the gradient, one each.
    """
    heights, time, times = np.full(min(x.shape[1:]), np.log(1 / law.charge) / 2), 0.0, []
    for plateau in law.plateaus[:-1]:
        growth = np.linalg.svdvals(gradient(x, y, plateau))[: len(heights)]
        rest = max(heights[0] / growth[0], 0.0)
        heights = np.sort(heights[1:] - growth[1:] * rest)
        time += rest
        times.append(time)
    return np.array(times)


def charge_row(charge: float, count: int = PROBLEMS) -> Row:
    """Errors of all times, of those of separable events, and of the leading order's."""
    errors, apart, orders, away = [], [], [], []
    for seed in range(count):
        x, y = problem(seed)
        law = greedy_rank(x, y, charge=charge)
        times, near = measured(law, x, y)
        off = np.abs(np.array([event.time for event in law.events]) / times - 1)
        errors += off.tolist()
        orders += np.abs(leading(law, x, y) / times - 1).tolist()
        alone = np.array([event.separable for event in law.events])
        apart += off[alone].tolist()
        away += near[alone].tolist()
    return {
        "charge": charge,
        "problems": count,
        "events": len(errors),
        "separable": len(apart),
        "median_error": float(np.median(errors)),
        "largest_error": float(np.max(errors)),
        "median_error_of_separable": float(np.median(apart)),
        "largest_error_of_separable": float(np.max(apart)),
        "largest_distance_of_separable": float(np.max(away)),
        "median_error_of_leading_order": float(np.median(orders)),
    }


def staircase(seed: int = 3, charge: float = 1e-8, rate: float = 0.01) -> Row:
    """The singular values of a run of descent through `simulate`, and the law's."""
    x, y = problem(seed)
    law, p = greedy_rank(x, y, charge=charge), MatrixProduct(*SHAPE)
    start = GradientFlow(float(np.sqrt(charge))).init(p)
    every = 5
    steps = int(1.3 * law.events[-1].time / rate / every) * every
    run = descent(p, start, x, y, rate, steps=steps, every=every)
    W = np.asarray(run.trace.w)[0]
    return {
        "times": (rate * np.asarray(run.trace.step)).tolist(),
        "singular_values": np.linalg.svdvals(W).tolist(),
        "events": [{"rank": e.rank, "time": e.time} for e in law.events],
        "plateaus": np.linalg.svdvals(law.plateaus).tolist(),
    }


def measure(quick: bool = False, say: Callable[[str], None] = lambda line: None) -> Row:
    """Errors of the times at three charges, and a staircase; ``quick``: of fewer problems."""
    rows = []
    for charge in CHARGES:
        rows.append(charge_row(charge, 3 if quick else PROBLEMS))
        say("P Q: " + ", ".join(_cells(rows[-1])))
    return {"rows": rows, "staircase": staircase()}


_HEADER = [
    "charge",
    "separable",
    "error of their times, median",
    "largest",
    "W to its plateau, largest",
    "all events, median",
    "largest",
    "leading order, median",
]


def _cells(row: Row) -> list[str]:
    return [
        f"{row['charge']:.0e}",
        f"{row['separable']} of {row['events']}",
        f"{row['median_error_of_separable']:.1e}",
        f"{row['largest_error_of_separable']:.1e}",
        f"{row['largest_distance_of_separable']:.1%}",
        f"{row['median_error']:.1e}",
        f"{row['largest_error']:.1e}",
        f"{row['median_error_of_leading_order']:.1%}",
    ]


def figure(run: Row) -> str:
    """Singular values against time, and the plateaus of the law, as a data URI."""
    from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, svg

    times, steps = np.array(run["times"]), np.array(run["plateaus"])
    switches = [event["time"] for event in run["events"]]
    with axes(6.0, 3.2) as (drawn, ax):
        for k, values in enumerate(np.array(run["singular_values"]).T):
            color = (FIT, MARK, DATA, SOFT)[k % 4]
            ax.plot(times, values, color=color, label=f"$\\sigma_{k + 1}$")
            edges = [times[1], *switches, times[-1]]
            ax.stairs(steps[:, k], edges, color=INK, ls="--", lw=0.8, baseline=None)
        ax.set(
            xscale="log",
            yscale="log",
            ylim=(1e-3, None),
            xlim=(switches[0] / 3, times[-1]),
            xlabel="learning rate times steps",
            ylabel="singular values of W",
        )
        ax.legend()
        return svg(drawn)


def section(found: Row) -> Section:
    """Times, plateaus and a staircase, for a page."""
    rows = found["rows"]
    worst = max(row["largest_error"] for row in rows)
    events, separable = (sum(row[k] for row in rows) for k in ("events", "separable"))
    away = max(row["largest_distance_of_separable"] for row in rows)
    return Section(
        "Directions of W = P Q",
        answer=f"The rank grows by one direction at a time: all {events} times are right to "
        f"{worst:.2%}, and W comes within {away:.1%} of the plateaus of the {separable} separable "
        "events.",
        figures=[("Singular values of W under gradient descent; dashed, the law.",
                  figure(found["staircase"]))],
        tables=[("Relative errors of the times, by the charge of the start. Events are separable "
                 "where the plateaus beside them are reached.", [_HEADER, *map(_cells, rows)])],
    )  # fmt: skip
