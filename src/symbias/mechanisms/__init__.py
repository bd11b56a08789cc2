"""Training mechanisms: what each of them prefers, and when that holds."""

from symbias.mechanisms.gradient_flow import GradientFlow
from symbias.mechanisms.label_noise import LabelNoise
from symbias.mechanisms.langevin import Langevin, effective_loss, noise_drift
from symbias.mechanisms.law import Law
from symbias.mechanisms.potentials import flow_bracket
from symbias.mechanisms.sgd import (
    charge_drift,
    equilibrium,
    expected_charge_drift,
    relaxation_time,
)
from symbias.mechanisms.weight_decay import WeightDecay

__all__ = [
    "GradientFlow",
    "LabelNoise",
    "Langevin",
    "Law",
    "WeightDecay",
    "charge_drift",
    "effective_loss",
    "equilibrium",
    "expected_charge_drift",
    "flow_bracket",
    "noise_drift",
    "relaxation_time",
]
