"""Every mechanism: its theorem, what it predicts, and runs that could refute it; on one page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax

from symbias._core.files import replace_file
from symbias._version import __version__
from symbias.report.page import render
from symbias.report.style import svg_text
from symbias.studies import (
    finite_steps,
    flow_limits,
    function_space,
    greedy_rank,
    grid,
    grid_page,
    incremental,
    label_noise_full,
    label_shift,
    noise_shapes,
    sharpness,
)
from symbias.studies.clock import Clock
from symbias.studies.theorems import THEOREMS
from symbias.studies.verification import Verification

_INTRO = (
    "What each way of training makes of each parameterization: the theorem, the prediction, and "
    "runs that know the loss and the factors alone."
)
# mechanism -> modules that measure more than its column of the grid: (quick) -> rows -> sections
PARTS: Mapping[str, Sequence[ModuleType]] = {
    "label noise": (label_shift, label_noise_full, noise_shapes),
    "gradient flow": (flow_limits,),
    "SGD noise": (finite_steps,),
    "step size": (sharpness,),
    "small start": (incremental, greedy_rank),
    "function space": (function_space,),
}


def run(out: str | Path, quick: bool = False, progress: bool = True) -> dict[str, Any]:
    """Fill the grid and run all parts; write ``mechanisms.json``, ``grid.svg`` and a page.

    Parameters
    ----------
    out : path
        Folder, made if needed.
    quick : bool
        Four rows of the grid, and a problem or two of each part.
    progress : bool
        Lines on standard output, as in the documentation.
    """
    folder, clock = Path(out), Clock(progress)
    folder.mkdir(parents=True, exist_ok=True)
    cells = grid.fill(quick, clock.say)
    parts: dict[str, list[Any]] = {}
    for name, modules in PARTS.items():
        parts[name] = []
        for module in modules:
            parts[name].append(module.measure(quick))
            clock.say(f"{name}: {module.__name__.rpartition('.')[2].replace('_', ' ')} measured")
        jax.clear_caches()  # a program for each run: a process may map only so many
    result = {
        "symbias": __version__,
        "quick": quick,
        "grid": {name: [c.to_dict() for c in row.values()] for name, row in cells.items()},
        "parts": parts,
        "seconds": clock.seconds,
    }
    figure = grid_page.figure(cells)
    replace_file(folder / "grid.svg", svg_text(figure))
    replace_file(folder / "mechanisms.json", json.dumps(result, indent=1) + "\n")
    replace_file(folder / "index.html", page(cells, parts, figure))
    return result


def page(
    cells: Mapping[str, Mapping[str, Verification]], parts: Mapping[str, Any], figure: str
) -> str:
    """HTML of the whole: the grid, then each mechanism with its theorem."""
    sections = [grid_page.overview(cells, figure)]
    for theorem in THEOREMS:
        name = theorem.mechanism
        own = grid_page.column(theorem, {k: row[name] for k, row in cells.items() if name in row})
        for module, measured in zip(PARTS.get(name, ()), parts.get(name, ()), strict=True):
            own.parts.append(module.section(measured))
        sections.append(own)
    footer = f"symbias {__version__}. The numbers stand in mechanisms.json, beside this page."
    return render("Mechanisms", _INTRO, sections, footer)
