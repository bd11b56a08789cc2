"""The studies as commands: a folder of their own, results that are kept, one page."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from symbias._core.files import locked, replace_file
from symbias._version import __version__
from symbias.report.page import Section, render
from symbias.studies import (
    attention_balance,
    claims,
    matrix_completion,
    orbits,
    relu_balance,
    sparse_spectrum,
    speed,
    total_variation,
)
from symbias.studies.clock import Clock
from symbias.studies.story import Setup, Story

PAPER: dict[str, Callable[[Setup], Story]] = {
    "relu-balance": relu_balance.study,
    "attention-balance": attention_balance.study,
    "matrix-completion": matrix_completion.study,
    "sparse-spectrum": sparse_spectrum.study,
    "total-variation": total_variation.study,
    "orbits": orbits.study,
}
SEEDS, QUICK_SEEDS = 20, 8  # with fewer than eight no verdict is reached at 99%

_INTRO = (
    "The experiments of arXiv 2601.06597, run again over many seeds, with a prediction for each. "
    "Every verdict is computed by a test at 99%: consistent, rejected, or undecided where the runs "
    "cannot tell. What theory predicts stands apart from bands that were chosen. The last column "
    "counts the seeds in which a claim holds taken alone: what a paper with that one seed would "
    "have seen."
)


_SPEED = (
    "One step of one run, timed in turns in this run, compilation left out. As a script the same "
    "step is a few dozen small operations, and their overhead is what costs."
)


def command(name: str) -> Callable[..., dict[str, Any]]:
    """The study as ``run(out, quick=False, progress=True, seeds=None)``; "paper" is all of them."""
    chosen = list(PAPER) if name == "paper" else [name]

    def run(
        out: str | Path, quick: bool = False, progress: bool = True, seeds: int | None = None
    ) -> dict[str, Any]:
        return run_studies(chosen, Path(out), quick=quick, progress=progress, seeds=seeds)

    return run


def run_studies(
    names: Sequence[str], out: Path, *, quick: bool, progress: bool, seeds: int | None
) -> dict[str, Any]:
    """Run studies, or take up those that `out` already holds with the same options.

    Writes ``NAME/NAME.json`` with figures (SVG, PNG, CSV) beside it, ``index.html`` and
    ``run.json``. A run that was killed goes on with the same call.

    Raises
    ------
    ValueError
        For fewer than one seed.
    FolderInUseError
        Where another process is writing to `out`.
    """
    seeds = (QUICK_SEEDS if quick else SEEDS) if seeds is None else seeds
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    say = Clock(progress).say
    with locked(out):
        found = {name: _one(name, out / name, quick, seeds, say) for name in names}
        sections = _sections(found, out)
        if list(names) == list(PAPER) and find_spec("torch"):
            say("a slice of the steps in eager PyTorch")
            sections.append(Section("Speed", _SPEED, tables=[("", speed.rows())]))
        page = render("Implicit bias, five experiments", _INTRO, sections, _footer())
        replace_file(out / "index.html", page)
        result = {"quick": quick, "seeds": seeds, "studies": found}
        replace_file(out / "run.json", json.dumps(result, indent=1) + "\n")
    return result


def _one(
    name: str, folder: Path, quick: bool, seeds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    options = {"quick": quick, "seeds": seeds, "program": program()}
    record = folder / f"{name}.json"
    if record.exists():
        kept: dict[str, Any] = json.loads(record.read_text())
        if kept["options"] == options:
            say(f"{name}: kept, {kept['seconds']:.0f} s of work")
            return kept
    begun_with = folder / "options.json"
    if begun_with.exists() and json.loads(begun_with.read_text()) != options:
        shutil.rmtree(folder / "runs", ignore_errors=True)  # unfinished, of another program
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(begun_with, json.dumps(options) + "\n")
    say(f"{name}: begun")
    begun = time.monotonic()
    story = PAPER[name](Setup(folder, seeds, quick, lambda line: say(f"{name}: {line}")))
    made = asdict(story) | {
        "claims": [claim.to_dict() for claim in story.claims],
        "options": options,
        "seconds": time.monotonic() - begun,
    }
    replace_file(record, json.dumps(made, indent=1) + "\n")
    for row in made["claims"]:
        say(f"{name}: {row['claim']}: {row['estimate']:.3g}, {row['verdict']}")
    return dict(json.loads(record.read_text()))


def program() -> str:
    """Hash of the version and of the studies' source: results of another program are not kept."""
    digest = hashlib.sha256(__version__.encode())
    for path in sorted(files("symbias.studies").iterdir(), key=lambda p: p.name):
        if path.name.endswith(".py"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sections(found: dict[str, dict[str, Any]], out: Path) -> list[Section]:
    from symbias.report.style import svg_uri

    rows = [row for study in found.values() for row in study["claims"]]
    counts = {
        v: sum(row["verdict"] == v for row in rows) for v in ("consistent", "rejected", "undecided")
    }
    split = [row for row in rows if 0 < row["held"] < row["runs"]]
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    summary = Section(
        "Verdicts",
        answer=f"{len(rows)} claims: {said}.",
        findings=[
            f"{len(split)} of {len(rows)} claims hold in some seeds and fail in others: there the "
            "verdict of a single run depends on its seed."
        ],
    )
    sections = [summary]
    for name, study in found.items():
        figures = [
            (caption, svg_uri((out / name / f"{stem}.svg").read_text()))
            for stem, caption in study["figures"]
        ]
        tables = claims.tables(study["claims"])
        sections.append(
            Section(
                study["title"],
                study["lead"],
                findings=study["findings"],
                figures=figures,
                tables=tables,
            )
        )
    return sections


def _footer() -> str:
    return f"symbias {__version__}. Figures as SVG, PNG and CSV lie beside this page."
