"""`symbias study`: whole studies, each one command."""

import difflib
import inspect
import json
from typing import Annotated

import typer

from symbias.cli.command import Json, Quiet, app, command
from symbias.cli.errors import InputError

app_of_studies = typer.Typer(
    no_args_is_help=True, help="Predictions against simulations, as studies."
)
app.add_typer(app_of_studies, name="study")


@app_of_studies.command("list")
@command
def list_studies(as_json: Json = False) -> None:
    """Names of the studies, and what each shows."""
    from symbias.studies import STUDIES

    if as_json:
        print(json.dumps(STUDIES, indent=2))
    else:
        for name, line in STUDIES.items():
            print(f"{name:20} {line}")


@app_of_studies.command("run")
@command
def run_study(
    name: Annotated[str, typer.Argument(help="A name from `symbias study list`.")],
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Folder for the results; symbias-NAME by default."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer settings, shorter runs.")] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Runs with data, start and noise of their own; 20.", min=1)
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a study; write its tables (JSON), figures and a page.

    The same call goes on where a killed run stopped.
    """
    from symbias.cli.write import writable

    folder = writable(f"symbias-{name}" if out is None else out)
    from symbias._core.ending import note
    from symbias._core.files import FolderInUseError
    from symbias.studies import STUDIES, study

    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"no study {name!r} among {', '.join(STUDIES)}{hint}")
    run = study(name)
    extra = {} if seeds is None else {"seeds": seeds}
    if extra and "seeds" not in inspect.signature(run).parameters:
        raise InputError(f"the study {name} has no --seeds")
    note("the same command goes on from here")
    try:
        result = run(folder, quick=quick, progress=not (quiet or as_json), **extra)
    except FolderInUseError as error:
        raise InputError(str(error)) from None
    if as_json:
        print(json.dumps(result, indent=2))
    elif not quiet:
        page = folder / "index.html"
        print(f"Results: {(page if page.exists() else folder).absolute()}")
