"""The command line. What the commands need loads after signals are waited for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from symbias._core import ending

if TYPE_CHECKING:
    from symbias.cli.command import app

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'symbias.cli' has no attribute {name!r}")
    for commands in ("fit", "audit", "balance", "design", "studies"):  # in the order of --help
        import_module(f"symbias.cli.{commands}")
    return import_module("symbias.cli.command").app


def main() -> None:
    """Entry point of the ``symbias`` command."""
    ending.end_on_signals()
    try:
        __getattr__("app")()
    finally:
        ending.over()
