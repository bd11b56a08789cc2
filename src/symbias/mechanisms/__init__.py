"""Training mechanisms: what each of them prefers, and when that holds."""

from symbias.mechanisms.weight_decay import WeightDecay

__all__ = ["WeightDecay"]
