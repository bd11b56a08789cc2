"""The command line."""

from symbias.cli.app import app, main

__all__ = ["app", "main"]
