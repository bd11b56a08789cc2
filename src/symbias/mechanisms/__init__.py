"""Training mechanisms: what each of them prefers, and when that holds.

`Mechanism.induced(p)` is the home of a preference; `symbias.designs` inverts it. What simulates or
differentiates (JAX) loads on first use.
"""

from typing import TYPE_CHECKING, Any

from symbias._core.lazy import load
from symbias.mechanisms.base import Induced, Mechanism, Preference
from symbias.mechanisms.label_noise import LabelNoise
from symbias.mechanisms.weight_decay import WeightDecay

if TYPE_CHECKING:
    from symbias.mechanisms.adaptive import Adam, AdamW
    from symbias.mechanisms.bregman import Potential
    from symbias.mechanisms.densities import effective_loss
    from symbias.mechanisms.function_fit import FunctionFit
    from symbias.mechanisms.function_space import FunctionSpace
    from symbias.mechanisms.gradient_flow import GradientFlow
    from symbias.mechanisms.greedy import GreedyRank, RankEvent, greedy_rank
    from symbias.mechanisms.group_staircase import incremental_groups
    from symbias.mechanisms.label_noise_drift import Drift
    from symbias.mechanisms.langevin import Langevin, noise_drift
    from symbias.mechanisms.law import Law
    from symbias.mechanisms.max_margin import Margin, MaxMargin, degree
    from symbias.mechanisms.orbit_gradients import least_gradients
    from symbias.mechanisms.piecewise import PiecewiseLinear
    from symbias.mechanisms.potentials import flow_bracket
    from symbias.mechanisms.reach import Reach, reachable
    from symbias.mechanisms.sgd import (
        charge_drift,
        equilibrium,
        expected_charge_drift,
        relaxation_time,
    )
    from symbias.mechanisms.staircase import Event, Incremental, incremental
    from symbias.mechanisms.steepest import SignDescent, SteepestDescent

_LAZY = {
    "Adam": "adaptive",
    "AdamW": "adaptive",
    "Drift": "label_noise_drift",
    "Event": "staircase",
    "FunctionFit": "function_fit",
    "FunctionSpace": "function_space",
    "GradientFlow": "gradient_flow",
    "GreedyRank": "greedy",
    "Incremental": "staircase",
    "incremental": "staircase",
    "incremental_groups": "group_staircase",
    "Langevin": "langevin",
    "Law": "law",
    "Margin": "max_margin",
    "MaxMargin": "max_margin",
    "degree": "max_margin",
    "PiecewiseLinear": "piecewise",
    "Potential": "bregman",
    "RankEvent": "greedy",
    "Reach": "reach",
    "SignDescent": "steepest",
    "SteepestDescent": "steepest",
    "charge_drift": "sgd",
    "effective_loss": "densities",
    "equilibrium": "sgd",
    "expected_charge_drift": "sgd",
    "flow_bracket": "potentials",
    "least_gradients": "orbit_gradients",
    "greedy_rank": "greedy",
    "noise_drift": "langevin",
    "reachable": "reach",
    "relaxation_time": "sgd",
}

__all__ = [
    "Adam",
    "AdamW",
    "Drift",
    "Event",
    "FunctionFit",
    "FunctionSpace",
    "GradientFlow",
    "GreedyRank",
    "Incremental",
    "Induced",
    "LabelNoise",
    "Langevin",
    "Law",
    "Margin",
    "MaxMargin",
    "Mechanism",
    "PiecewiseLinear",
    "Potential",
    "Preference",
    "RankEvent",
    "Reach",
    "SignDescent",
    "SteepestDescent",
    "WeightDecay",
    "charge_drift",
    "degree",
    "effective_loss",
    "equilibrium",
    "expected_charge_drift",
    "flow_bracket",
    "greedy_rank",
    "incremental",
    "incremental_groups",
    "least_gradients",
    "noise_drift",
    "reachable",
    "relaxation_time",
]


def __getattr__(name: str) -> Any:
    return load(__name__, _LAZY, name)
