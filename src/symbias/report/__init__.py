"""Figures, cards and pages. What needs JAX loads on first use: a page alone does not."""

from typing import TYPE_CHECKING, Any

from symbias._core.lazy import load

if TYPE_CHECKING:
    from symbias.report.cards import Card, card

__all__ = ["Card", "card"]


def __getattr__(name: str) -> Any:
    return load(__name__, dict.fromkeys(__all__, "cards"), name)
