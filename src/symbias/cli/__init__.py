"""The command line."""

from symbias.cli.app import app, main
from symbias.cli.studies import study

__all__ = ["app", "main", "study"]
