"""What an audit found, with its totals."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from symbias.audit.advice import advice, place
from symbias.audit.joint import Joint
from symbias.audit.measure import Row
from symbias.audit.products import Product
from symbias.checkpoints import Numpy


@dataclass
class Audit:
    """What an audit found.

    Attributes
    ----------
    model, family
        What was audited, and as what.
    rows
        One per bond and head.
    reasons
        Array name to why it belongs to no bond.
    arrays, parameters
        How many.
    notes
        What a reader should know.
    spectra
        Bond name to singular values per head of what the bond leaves unchanged.
    products
        Of an adapter: what it adds to each layer.
    guess
        The family was read from array names alone.
    joint
        Sets of bonds that share arrays, each with its joint log volume.
    """

    model: str
    family: str
    rows: list[Row]
    reasons: dict[str, str]
    arrays: int
    parameters: int
    notes: list[str] = field(default_factory=list)
    spectra: dict[str, Numpy] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)
    guess: bool = False
    joint: list[Joint] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Totals. Norms are those of the bonds that balancing acts on, one by one."""
        both = [r for r in self.rows if r.movable]
        uneven = [r.imbalance for r in self.rows if r.imbalance is not None]
        worst = max((r for r in self.rows if r.imbalance is not None),
                    key=lambda r: r.imbalance or 0.0, default=None)  # fmt: skip
        return {
            "model": self.model,
            "family": self.family,
            "guess": self.guess,
            "arrays": self.arrays,
            "parameters": self.parameters,
            "bonds": len(self.rows),
            "dimension": sum(r.dimension for r in self.rows),
            "stabilizers": sum(r.stabilizers for r in self.rows),
            "norm": sum(r.norm for r in both),
            "least_norm": sum(r.least_norm or 0.0 for r in both),
            "median_imbalance": float(np.median(uneven)) if uneven else None,
            "worst_imbalance": worst.imbalance if worst else None,
            "worst": place(worst) if worst else None,
            "dead": sum(r.dead or 0 for r in self.rows),
            **self._volumes(),
            "arrays_without_bond": len(self.reasons),
        }

    def _volumes(self) -> dict[str, float | None]:
        """Log volume of all bonds but the residual stream: each by itself, and together."""
        alone = sum(row.log_volume for row in self.rows if row.kind != "residual")
        values: dict[str, float | None] = {"log_volume_alone": alone}
        for side in ("lower", "upper"):
            bounds = [getattr(joint, side) for joint in self.joint]
            less = None if None in bounds else sum(j.alone for j in self.joint) - sum(bounds)
            values[f"log_volume_{side}"] = None if less is None else alone - less
        return values

    def to_dict(self) -> dict[str, Any]:
        """Summary, notes, rows and reasons as plain values."""
        return {
            "summary": self.summary(),
            "notes": self.notes,
            "bonds": [row.to_dict() | {"advice": advice(row)} for row in self.rows],
            "joint": [joint.to_dict() for joint in self.joint],
            "products": [product.to_dict() for product in self.products],
            "arrays": [{"array": k, "reason": v} for k, v in self.reasons.items()],
        }
