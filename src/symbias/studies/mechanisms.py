"""Every mechanism: its theorem, what it predicts, and runs that could refute it; on one page."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from symbias._core.files import replace_file
from symbias._version import __version__
from symbias.report.page import Section, render
from symbias.studies import (
    finite_steps,
    flow_limits,
    grid,
    grid_page,
    incremental,
    label_shift,
    sharpness,
)
from symbias.studies.clock import Clock
from symbias.studies.theorems import THEOREMS
from symbias.studies.verification import Verification

SCALES = tuple(10.0**-k for k in range(7))
_INTRO = (
    "What each way of training makes of each parameterization: the theorem, the prediction, and "
    "runs that know the loss and the factors alone."
)
# mechanism -> what is measured beside its column of the grid, and its part of the page
Measure = Callable[[bool], Any]
PARTS: Mapping[str, tuple[Measure, Callable[[Any], Section]]] = {
    "label noise": (lambda quick: label_shift.some_rows(quick), label_shift.section),
    "gradient flow": (lambda quick: flow_limits.some_rows(quick), flow_limits.section),
    "SGD noise": (
        lambda quick: finite_steps.rows(*((1, (10, 30, 3)) if quick else (finite_steps.PROBLEMS,))),
        finite_steps.section,
    ),
    "step size": (sharpness.measure, sharpness.section),
    "small start": (incremental.measure, incremental.section),
}


def run(out: str | Path, quick: bool = False, progress: bool = True) -> dict[str, Any]:
    """Fill the grid and run all parts; write ``mechanisms.json``, ``grid.svg`` and a page.

    Parameters
    ----------
    out : path
        Folder, made if needed.
    quick : bool
        Half of the rows of the grid, and a problem or two of each part.
    progress : bool
        Lines on standard output, as in the documentation.
    """
    folder, clock = Path(out), Clock(progress)
    folder.mkdir(parents=True, exist_ok=True)
    cells = grid.fill(quick, clock.say)
    parts = {}
    for name, (measure, _) in PARTS.items():
        parts[name] = measure(quick)
        clock.say(f"{name}: measured")
        jax.clear_caches()  # a program for each run: a process may map only so many
    result = {
        "symbias": __version__,
        "quick": quick,
        "grid": {name: [c.to_dict() for c in row] for name, row in cells.items()},
        "parts": parts,
        "seconds": clock.seconds,
    }
    figure = grid_page.figure(cells)
    replace_file(folder / "grid.svg", grid_page.svg_of(figure))
    replace_file(folder / "mechanisms.json", json.dumps(result, indent=1) + "\n")
    replace_file(folder / "index.html", page(cells, parts, figure))
    return result


def page(
    cells: Mapping[str, list[Verification]], parts: Mapping[str, Any], figure: str
) -> str:
    """HTML of the whole: the grid, then each mechanism with its theorem."""
    sections = [grid_page.overview(cells, figure)]
    for place, theorem in enumerate(THEOREMS):
        column = {name: row[place] for name, row in cells.items()}
        own = grid_page.column(theorem, column)
        if theorem.mechanism in PARTS:
            own.parts.append(PARTS[theorem.mechanism][1](parts[theorem.mechanism]))
        sections.append(own)
    footer = f"symbias {__version__}. The numbers stand in mechanisms.json, beside this page."
    return render("Mechanisms", _INTRO, sections, footer)
