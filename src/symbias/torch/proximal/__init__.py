"""Penalties on plain weights: their proximal maps in the metric in which an optimizer steps."""

from symbias.torch.proximal.penalizing import (
    penalize,
    penalize_channels,
    penalized,
    refuse_penalized,
)
from symbias.torch.proximal.step import ProximalStep

__all__ = ["ProximalStep", "penalize", "penalize_channels", "penalized", "refuse_penalized"]
