"""Low-rank adapters in PEFT's layout."""

from symbias.adapters.truncate import Cut, Truncated, truncate

__all__ = ["Cut", "Truncated", "truncate"]
