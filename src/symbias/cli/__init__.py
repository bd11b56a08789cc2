"""The command line."""

from symbias.cli.app import app, main
from symbias.cli.audit import audit
from symbias.cli.balance import balance
from symbias.cli.design import design
from symbias.cli.studies import study

__all__ = ["app", "audit", "balance", "design", "main", "study"]
