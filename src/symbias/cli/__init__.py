"""The command line. What the commands need loads after signals are waited for."""

from typing import TYPE_CHECKING, Any

from symbias._core import ending

if TYPE_CHECKING:
    from symbias.cli.command import app

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'symbias.cli' has no attribute {name!r}")
    from symbias.cli import audit, balance, command, design, fit, studies  # noqa: F401

    return command.app


def main() -> None:
    """Entry point of the ``symbias`` command."""
    ending.end_on_signals()
    try:
        __getattr__("app")()
    finally:
        ending.over()
