"""Predictions against simulations: charges, equilibria, laws, and the judge itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from symbias._core.files import replace_file
from symbias.studies import evidence_page, settings, tables
from symbias.studies.clock import Clock
from symbias.studies.networks import NETWORKS

# weight decay -> learning rate: equilibria take 1/(2 eta lam) steps, or 1/eta^2 without decay
RELU_RATES = {0.0: 0.02, 1e-3: 0.02, 1e-2: 0.01}
LAWS = [(3, p, rho) for p in (2, 4) for rho in (0.0, 0.5, 1.0)]
LAWS += [(n, p, 1.0) for n in (1, 5) for p in (2, 4)]
QUICK_LAWS = [(3, 4, 0.5), (1, 2, 1.0)]


def run(out: str | Path, quick: bool = False, progress: bool = True) -> dict[str, Any]:
    """Make all tables; write ``evidence.json``, three figures and ``index.html`` to `out`.

    Parameters
    ----------
    out : path
        Folder, made if needed.
    quick : bool
        Fewer settings, shorter runs: minutes instead of a quarter of an hour on two cores.
    progress : bool
        Lines on standard output, table by table.
    """
    folder, clock = Path(out), Clock(progress)
    folder.mkdir(parents=True, exist_ok=True)
    say = clock.say
    result: dict[str, Any] = {"quick": quick}
    result["identity"] = tables.identity_rows([make() for make in NETWORKS])
    for row in result["identity"]:
        say(f"one step, {row['network']}, {row['bond']}: relative error {row['error']:.1e}")

    result["equilibria"] = []
    for setting in _settings(quick):
        for row in tables.equilibrium_rows(setting, relaxations=6 if quick else 30):
            result["equilibria"].append(row)
            naive = row["balanced_error"]
            tail = "" if naive is None else f", balanced off by {naive:+.1%}"
            say(
                f"{row['setting']}, {row['observable']}: measured {row['measured']:.4g}, "
                f"predicted {row['predicted']:.4g} ({row['error']:+.1%}, {row['verdict']}){tail}"
            )

    replicas = 4_000 if quick else 20_000
    grid = QUICK_LAWS if quick else LAWS
    laws = tables.law_rows(grid, replicas=replicas)
    laws += tables.slice_rows(replicas=replicas, matrices=500 if quick else 2_000)
    for row in laws:
        wrong = ", ".join(f"{k} {p:.1e}" for k, p in row["wrong"].items())
        say(f"law {row['law']}: p = {row['p_value']:.2g} ({row['verdict']}); wrong laws: {wrong}")

    calibration = tables.calibration_rows(100 if quick else 4000)
    for row in calibration:
        say(f"judge, {row['test']}: {row['rejected_at_5_percent']:.1%} of true laws at 5%")

    _draw_equilibria(result["equilibria"], folder / "equilibria.png")
    _draw_laws(laws, folder / "laws.png")
    _draw_calibration(calibration, folder / "calibration.png")
    result["laws"] = [{k: v for k, v in row.items() if k not in ("samples", "cdf")} for row in laws]
    result["calibration"] = [
        {k: v for k, v in row.items() if k != "p_values"} for row in calibration
    ]
    result["seconds"] = clock.seconds
    replace_file(folder / "evidence.json", json.dumps(result, indent=1) + "\n")
    figures = {n: (folder / f"{n}.svg").read_text() for n in ("equilibria", "laws", "calibration")}
    replace_file(folder / "index.html", evidence_page.page(result, figures))
    return result


def _settings(quick: bool) -> list[settings.Setting]:
    inputs, decays = ((3,), (0.0, 1e-2)) if quick else ((1, 3, 10), tuple(RELU_RATES))
    chosen = [
        settings.relu(n, decay, learning_rate=RELU_RATES[decay]) for n in inputs for decay in decays
    ]
    chosen.append(settings.normalised(1e-2, learning_rate=0.02))
    chosen.append(settings.low_rank(3e-3, learning_rate=0.02))
    if not quick:
        chosen.append(settings.low_rank(0.0, learning_rate=0.02))
        chosen.append(settings.attention(1e-2, learning_rate=0.01))
        chosen.append(settings.attention(1e-3, learning_rate=0.01))
    return chosen


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=150)
    figure.savefig(path.with_suffix(".svg"))


def _draw_equilibria(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.32 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(rows))[::-1]
    axes.axvspan(-5, 5, color="0.92", label="5%")
    axes.axvline(0, color="0.6", lw=1)
    low, high = (
        [100 * (row["interval"][i] / row["predicted"] - 1) for row in rows] for i in (0, 1)
    )
    axes.hlines(y, low, high, color="C0")
    axes.plot([100 * row["error"] for row in rows], y, "o", color="C0", label="equilibrium")
    naive = [
        np.nan if row["balanced_error"] is None else 100 * row["balanced_error"] for row in rows
    ]
    axes.plot(naive, y, "x", color="C3", label="balanced")
    axes.set_yticks(y, [f"{row['setting']}: {row['observable']}" for row in rows], fontsize=7)
    axes.set_xlabel("measured over predicted - 1 (%)")
    axes.legend(loc="lower right", fontsize=8)
    _save(figure, path)


def _draw_laws(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    shown = [row for row in rows if row["samples"][0].size == 1]
    lines = -(-len(shown) // 3)
    figure = Figure(figsize=(7.5, 2.0 * lines), layout="constrained")
    grid = figure.subplots(lines, 3, squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.axis("off")
    for axes, row in zip(grid, shown, strict=False):
        w = row["samples"].ravel()
        edges = np.linspace(w.min(), w.max(), 60)
        axes.hist(w, edges, density=True, color="0.8")
        cdf = row["cdf"](edges)
        axes.plot((edges[1:] + edges[:-1]) / 2, np.diff(cdf) / np.diff(edges), color="C0")
        axes.set_title(f"{row['law']}: p = {row['p_value']:.2g}", fontsize=8)
        axes.set_yticks([])
    figure.supxlabel("w", fontsize=9)
    _save(figure, path)


def _draw_calibration(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7")
    for row in rows:
        p = np.sort(row["p_values"])
        label = f"{row['test']} ({row['rejected_at_5_percent']:.1%} at 5%)"
        axes.step(p, np.arange(1, len(p) + 1) / len(p), label=label)
    axes.set(xlabel="p-value", ylabel="share of true laws", aspect="equal")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.05, 0.5))
    _save(figure, path)
