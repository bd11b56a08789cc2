"""Low-rank adapters in PEFT's layout."""

from symbias.adapters.truncating import Cut, Truncated, truncate

__all__ = ["Cut", "Truncated", "truncate"]
