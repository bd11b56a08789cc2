"""Figures, cards and pages. What needs JAX loads on first use: a page alone does not."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symbias.report.cards import Card, card

__all__ = ["Card", "card"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'symbias.report' has no attribute {name!r}")
    from symbias.report import cards

    return getattr(cards, name)
