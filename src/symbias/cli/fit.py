"""`symbias fit` and `symbias demo`: a series or a table with a designed bias."""

import json
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from symbias._version import __version__
from symbias.cli.command import Folder, Json, Quiet, app, command
from symbias.cli.errors import InputError
from symbias.cli.names import SERIES, TABLES


@app.command()
@command
def fit(
    data: Annotated[str, typer.Argument(metavar="DATA.csv", help="A CSV file.")],
    penalty: Annotated[
        str,
        typer.Option(
            help="Series: tv, trend, spectral. Tables: l1, lq, group, ridge, elastic, logsum."
        ),
    ],
    strength: Annotated[
        str, typer.Option(help="A positive number, or auto for cross-validation.")
    ] = "auto",
    folder: Folder = "symbias-out",
    target: Annotated[
        list[str] | None,
        typer.Option(help="Column to fit or to predict; repeat for series that change together."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of time stamps of a series; index: rows in order.")
    ] = None,
    groups: Annotated[str | None, typer.Option(help='Groups of columns: "a,b;c,d".')] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out; repeat.")] = None,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether the first row names the columns."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds of the cross-validation; 5, or one a row if fewer.")
    ] = None,
    solver: Annotated[str, typer.Option(help="auto, varpro or gd.")] = "auto",
    max_iter: Annotated[int | None, typer.Option(help="Rounds or steps of a fit at most.")] = None,
    tol: Annotated[float | None, typer.Option(help="Relative duality gap of a fit.")] = None,
    impute: Annotated[
        str | None, typer.Option(help="Fill missing values in: mean, median or most_frequent.")
    ] = None,
    onehot: Annotated[
        bool, typer.Option("--onehot", help="Columns of text become columns of 0 and 1.")
    ] = False,
    classify: Annotated[
        bool, typer.Option("--classify", help="The target is a class: logistic loss.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Train the factors too, ask a convex solver, and compare."),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit a series or a table with a designed bias; write coefficients, a record and a page."""
    number = _parse_strength(strength)
    _one_of("--penalty", penalty, SERIES + TABLES)
    _one_of("--solver", solver, ("auto", "varpro", "gd"))
    if folds is not None and folds < 2:
        raise InputError(f"--folds must be at least 2, got {folds}")
    if folds is not None and number is not None:
        raise InputError("--folds is for --strength auto, which cross-validates")
    if groups is not None and penalty != "group":
        raise InputError(f"--groups is for --penalty group, not for {penalty}")
    if time is not None and penalty in TABLES:
        raise InputError(f"--time is for series ({', '.join(SERIES)}), not for {penalty}")
    if max_iter is not None and max_iter < 1:
        raise InputError(f"--max-iter must be at least 1, got {max_iter}")
    if tol is not None and not 0 < tol < 1:
        raise InputError(f"--tol must be between 0 and 1, got {tol}")
    if impute is not None:
        _one_of("--impute", impute, ("mean", "median", "most_frequent"))
    if penalty in SERIES and (impute or onehot or classify):
        raise InputError("--impute, --onehot and --classify are for tables, not for series")
    from symbias.cli.read import read_csv
    from symbias.cli.write import writable, write_all

    out = writable(folder)
    table = read_csv(Path(data), header)
    from symbias.cli.jobs import run_job
    from symbias.cli.record import Options
    from symbias.report.page import render

    options = Options(
        penalty,
        number,
        tuple(target or ()),
        time,
        groups,
        tuple(drop or ()),
        folds,
        solver,
        show_progress=not quiet,
        verify=verify,
        max_iter=max_iter,
        tol=tol,
        impute=impute,
        onehot=onehot,
        classify=classify,
    )
    job = run_job(table, options)
    page = render(job.section.title, table.path.name, [replace(job.section, title="")], _footer())
    write_all(out, _files(job) | {"index.html": page})
    _announce([job], out / "index.html", quiet, as_json)


@app.command()
@command
def demo(
    folder: Folder = "symbias-demo",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Two real series: where did the Nile's level change, and how long is the sunspot cycle?"""
    from symbias.cli.read import read_csv
    from symbias.cli.write import writable, write_all

    out = writable(folder)
    from symbias.cli.jobs import run_job
    from symbias.cli.record import Options
    from symbias.report.page import render

    jobs = {}
    for name, penalty in (("nile", "tv"), ("sunspots", "spectral")):
        table = read_csv(Path(str(files("symbias") / "data" / f"{name}.csv")))
        jobs[name] = run_job(table, Options(penalty, None, show_progress=not quiet, verify=True))
    sections = [job.section for job in jobs.values()]
    page = render("Two real series", _QUESTIONS, sections, _footer())
    written = {f"{n}/{f}": text for n, job in jobs.items() for f, text in _files(job).items()}
    write_all(out, written | {"index.html": page})
    _announce(list(jobs.values()), out / "index.html", quiet, as_json)


_QUESTIONS = "When did the Nile's level change, and how long is the sunspot cycle?"


def _footer() -> str:
    return f"Made by symbias {__version__}. This page is self-contained."


def _parse_strength(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise InputError(f"--strength must be 'auto' or a positive number, got {text!r}")
    return value


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{option} must be one of {', '.join(allowed)}, got {value!r}")


def _files(job: Any) -> dict[str, str]:
    from symbias.report.style import svg_text

    shown = [uri for part in job.section.walk() for _, uri in part.figures]
    figures = {f"figure-{k}.svg": svg_text(uri) for k, uri in enumerate(shown, start=1)}
    return {
        "coefficients.csv": job.coefficients,
        "run.json": json.dumps(job.record, indent=2) + "\n",
    } | figures


def _announce(jobs: list[Any], page: Path, quiet: bool, as_json: bool) -> None:
    for warning in (w for job in jobs for w in job.warnings):
        print(f"symbias: warning: {warning}", file=sys.stderr)
    if as_json:
        records = [job.record for job in jobs]
        print(json.dumps(records[0] if len(records) == 1 else records, indent=2))
    elif not quiet:
        from rich.console import Console

        from symbias.cli.summary import summary

        console = Console()
        for job in jobs:
            console.print(summary(job))
        console.print(f"Page: {page.absolute().as_uri()}", soft_wrap=True, highlight=False)
