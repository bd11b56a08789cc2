"""The command line."""

from symbias.cli.app import app, main
from symbias.cli.design import design
from symbias.cli.studies import study

__all__ = ["app", "design", "main", "study"]
