"""Studies: data, prediction, run, evidence and figure, each as one command."""

from collections.abc import Callable
from typing import Any

from symbias.studies import design_grid, evidence, paper
from symbias.studies.verification import Verification, verify

# name -> run(out, quick=False, progress=True), those of the paper with seeds=None as well: writes
# JSON and figures to a folder, gives back what the JSON holds
STUDIES: dict[str, Callable[..., dict[str, Any]]] = {
    "evidence": evidence.run,
    "design-grid": design_grid.run,
    "paper": paper.command("paper"),
    **{name: paper.command(name) for name in paper.PAPER},
}

__all__ = ["STUDIES", "Verification", "verify"]
