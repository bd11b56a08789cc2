"""The command line. What the commands need loads after signals are waited for."""

import logging
import os
import warnings
from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from symbias._core import ending

if TYPE_CHECKING:
    from symbias.cli.command import app

__all__ = ["app", "main"]
COMMANDS = ("fit", "audit", "balance", "truncate", "design", "studies")  # in the order of --help


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'symbias.cli' has no attribute {name!r}")
    for commands in COMMANDS:
        import_module(f"symbias.cli.{commands}")
    return import_module("symbias.cli.command").app


def main() -> None:
    """Entry point of the ``symbias`` command."""
    ending.end_on_signals()
    _set_up(os.environ)
    try:
        __getattr__("app")()
    finally:
        ending.over()


def _set_up(environment: MutableMapping[str, str]) -> None:
    """What libraries that load later take from the surroundings of this process.

    Figures are drawn into files, whatever is set for a screen; JAX keeps compiled programs in the
    user's cache folder; and neither says anything where there is no such folder.
    """
    environment["MPLBACKEND"] = "agg"
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    cache = environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    environment.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(cache, "symbias", "jax"))
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
