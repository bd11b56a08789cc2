"""Studies: data, prediction, run, evidence and figure, each as one command.

They simulate (JAX), so they load on first use; what they show can be read without.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from symbias._core.extras import needed_by
from symbias._core.lazy import load

if TYPE_CHECKING:
    from symbias.studies.verification import Verification, verify

# name -> what it shows
STUDIES = {
    "evidence": "Charges, equilibria and stationary laws: predictions against simulated training.",
    "mechanisms": "Every mechanism: theorem, prediction and runs, for every parameterization.",
    "incremental": "Incremental learning: which entry of w = u v is learned when, and the loss.",
    "margins": "Classification: where training goes on separable data, against certified margins.",
    "paper": "All studies of arXiv 2601.06597, on one page.",
    "relu-balance": "ReLU layers: frozen charges predict the balance that is seen; noise leads "
    "elsewhere.",
    "attention-balance": "Attention: columns look balanced before the matrices are; noise leads "
    "elsewhere.",
    "matrix-completion": "Matrix completion: 80 entries cannot do; with 240 the bias recovers the "
    "matrix.",
    "sparse-spectrum": "Sparse spectra: gradient flow, weight decay and label noise, each with its "
    "prediction.",
    "total-variation": "Total variation: the published start is too large; weight decay and noise "
    "repair it.",
    "orbits": "Orbits of u v: where three kinds of noise move a point along them.",
}

__all__ = ["STUDIES", "Verification", "study", "verify"]


def study(name: str) -> Callable[..., dict[str, Any]]:
    """A study as ``run(out, quick=False, progress=True)``, those of the paper with ``seeds=None``.

    It writes JSON and figures to a folder, and gives back what the JSON holds.
    """
    with needed_by(f"the study {name}"):
        from symbias.studies import evidence, incremental, margins_page, mechanisms, paper

    own = {
        "evidence": evidence.run,
        "mechanisms": mechanisms.run,
        "incremental": incremental.run,
        "margins": margins_page.run,
    }
    return own.get(name) or paper.command(name)


def __getattr__(name: str) -> Any:
    return load(__name__, dict.fromkeys(("Verification", "verify"), "verification"), name, "sb.")
