"""Independent solvers, for comparison: the penalty written out in w, no factors, no normal forms.

An interior-point method where the penalty is convex, proximal gradient descent from many starts
where it is not.
"""

from symbias.solvers.reference.convex import (
    LARGEST,
    Reference,
    convex_reference,
    series_reference,
)
from symbias.solvers.reference.proximal import proximal_reference

__all__ = ["LARGEST", "Reference", "convex_reference", "proximal_reference", "series_reference"]
