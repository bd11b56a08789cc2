"""What all commands share. Heavy imports happen inside of them, so that --help is quick."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from symbias._core.extras import MissingExtra
from symbias._version import __version__
from symbias.cli.errors import InputError

STATUS = (
    "Status: 0 done, warnings included; 2 bad input, a refusal or a missing extra, in one line and "
    "nothing written; 130 interrupted (143 by SIGTERM); 1 a bug, with a traceback."
)

app = typer.Typer(
    name="symbias",
    help="Implicit bias of training: predict it, verify it, design it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=STATUS,
)

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]
Folder = Annotated[str, typer.Option("--out", metavar="FOLDER", help="Folder for the results.")]
Json = Annotated[bool, typer.Option("--json", help="Print the run record as JSON.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Bad input ends in one line and status 2."""

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except (InputError, MissingExtra) as error:
            print(f"symbias: error: {error}", file=sys.stderr)
            raise typer.Exit(2) from None

    return guarded


def _version(value: bool) -> None:
    if value:
        print(f"symbias {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
