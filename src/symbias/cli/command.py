"""What all commands share. Heavy imports happen inside of them, so that --help is quick."""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from symbias._version import __version__
from symbias.cli.errors import InputError

app = typer.Typer(
    name="symbias",
    help="Implicit bias of training: predict it, verify it, design it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
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
        except InputError as error:
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


def use_compilation_cache() -> None:
    """Keep compiled programs between runs, in the user's cache folder."""
    import jax

    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(base / "symbias" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
