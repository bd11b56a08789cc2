"""Figures, cards and pages."""

from symbias.report.cards import Card, card

__all__ = ["Card", "card"]
