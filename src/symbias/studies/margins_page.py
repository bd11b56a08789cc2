"""The study of margins: its runs, its tables, and the page that shows them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from symbias._core.files import replace_file
from symbias._version import __version__
from symbias.report.page import Section, render
from symbias.studies import adaptive_page, margins
from symbias.studies.clock import Clock
from symbias.studies.margins import Row

SEEDS = 10
_INTRO = (
    "Gradient descent on a classification loss of separable data never ends; its direction does. "
    "The prediction is the least balanced norm at margins of 1, by a cone program with a "
    "certificate; the runs know the loss and the factors alone."
)


def run(out: str | Path, quick: bool = False, progress: bool = True) -> dict[str, Any]:
    """Run all settings; write ``margins.json`` and ``index.html`` to `out`.

    Parameters
    ----------
    out : path
        Folder, made if needed.
    quick : bool
        Two problems of each setting, of 20 features only: a minute instead of half an hour.
    progress : bool
        Lines on standard output, as in the documentation.
    """
    folder, clock = Path(out), Clock(progress)
    folder.mkdir(parents=True, exist_ok=True)
    say = clock.say
    problems, seeds = (margins.PROBLEMS[:1], 2) if quick else (margins.PROBLEMS, SEEDS)
    rows, summary = [], []
    for setting in margins.SETTINGS:
        for size in problems:
            own = [margins.direction_row(setting, *size, seed) for seed in range(seeds)]
            rows += own
            summary.append(summarised(own))
            say(", ".join(summary_cells(summary[-1])))
            jax.clear_caches()  # a program for each run: a process may map only so many
    result: dict[str, Any] = {
        "symbias": __version__,
        "quick": quick,
        "summary": summary,
        "runs": rows,
        "rate": margins.rate_rows(decades=5 if quick else 6),
        "path": margins.path_rows(),
        "adaptive": adaptive_page.runs(quick, say),
    }
    for row in result["rate"]:
        say(f"plain descent, {row['steps']:.0e} steps: " + ", ".join(_logarithmic(row)))
    for row in result["path"]:
        say(f"path of {row['setting']}, {row['strength']:.0e}: " + ", ".join(_logarithmic(row)))
    result["seconds"] = clock.seconds
    replace_file(folder / "margins.json", json.dumps(result, indent=1) + "\n")
    replace_file(folder / "index.html", page(result))
    return result


def summarised(rows: Sequence[Row]) -> Row:
    """Problems of one setting and size: what tells the norm apart, and excesses."""
    return margins.told_apart(rows) | {
        "within_a_degree": sum(row["angle"] < 1 for row in rows),
        "largest_excess": max(row["excess"] for row in rows),
        "least_rival_excess": min(row["rival_excess"] for row in rows),
        "median_rival_excess": float(np.median([row["rival_excess"] for row in rows])),
    }


HEADER = [
    "w(theta)",
    "n x p",
    "angle, median",
    "largest",
    "below 1",
    "to the rival, least",
    "R over the least, largest",
    "rival's R over it, median",
    "told apart",
]


def summary_cells(row: Row) -> list[str]:
    """A line of the table."""
    return [
        row["setting"],
        f"{row['samples']} x {row['features']}",
        f"{row['median_angle']:.2f}",
        f"{row['largest_angle']:.2f}",
        f"{row['within_a_degree']} of {row['problems']}",
        f"{row['least_rival_angle']:.1f}",
        f"{row['largest_excess']:.2%}",
        f"{row['median_rival_excess']:.1%}",
        f"{row['told_apart']} of {row['problems']}",
    ]


def page(result: dict[str, Any]) -> str:
    """HTML of the whole."""
    summary, rate, path = result["summary"], result["rate"], result["path"]
    told, problems = (sum(row[k] for row in summary) for k in ("told_apart", "problems"))
    near = sum(row["within_a_degree"] for row in summary)
    excess = max(row["largest_excess"] for row in summary)
    logarithmic = ["angle (degrees)", "angle times log", "error of the growth"]
    sections = [
        Section(
            "Directions",
            f"Normalised descent, {margins.STEPS:,} steps from a random start, on inputs with a "
            "truth of three features. Angles in degrees; R of a run is 1/2 |theta|^2 at a least "
            "margin of 1. The rival is the l2 margin, for w itself the l1 margin. Where two "
            "directions have nearly one R, runs take far longer to tell them apart.",
            answer=f"{near} of {problems} runs end within a degree of the prediction, and none has "
            f"an R more than {excess:.1%} above the least; {told} are told apart from the rival.",
            tables=[("", [HEADER, *map(summary_cells, summary)])],
        ),
        Section(
            "Plain descent is slow",
            "Without normalised steps the angle falls as 1/log t, and w grows by its margin of 1 "
            "for every factor e in t.",
            figures=[("Degrees from the margin, over 1/log.", _figure(rate, path))],
            tables=[
                (
                    "",
                    [["steps", *logarithmic], *([f"{r['steps']:.0e}", *_numbers(r)] for r in rate)],
                )
            ],
        ),
        Section(
            "The path of weight decay",
            "The minimum of loss + strength R goes to the same margin as the strength goes to 0.",
            tables=[
                (
                    "",
                    [
                        ["w(theta)", "strength", *logarithmic],
                        *([r["setting"], f"{r['strength']:.0e}", *_numbers(r)] for r in path),
                    ],
                )
            ],
        ),
        *adaptive_page.sections(result["adaptive"]),
    ]
    footer = f"symbias {__version__}. Every run stands in margins.json, beside this page."
    return render("Margins", _INTRO, sections, footer)


def _numbers(row: Row) -> list[str]:
    return [f"{row['angle']:.2f}", f"{row['angle_times_log']:.1f}", f"{row['growth_error']:.1%}"]


def _logarithmic(row: Row) -> list[str]:
    angle, times, growth = _numbers(row)
    return [f"{angle} degrees", f"times log {times}", f"growth off by {growth}"]


def _figure(rate: Sequence[Row], path: Sequence[Row]) -> str:
    from symbias.report.style import DATA, FIT, MARK, SOFT, axes, svg

    with axes(6.0, 3.0) as (drawn, ax):
        steps = [1 / np.log(r["steps"]) for r in rate]
        ax.plot(steps, [r["angle"] for r in rate], "o-", color=FIT, label="w, t steps of descent")
        for name, color in zip(margins.ON_PATHS, (DATA, MARK, SOFT), strict=True):
            own = [r for r in path if r["setting"] == name]
            across = [-1 / np.log(r["strength"]) for r in own]
            label = f"{name}, weight decay 1/t"
            ax.plot(across, [r["angle"] for r in own], "s--", color=color, ms=3, label=label)
        ax.set(xlabel="1 / log t", ylabel="degrees", xlim=(0, None), ylim=(0, None))
        ax.legend()
        return svg(drawn)
