"""Gradient descent on half the mean squared error, as studies run it."""

from typing import Any

import numpy as np

from symbias.dynamics import SGD, Problem, Run, simulate
from symbias.parameterizations import Parameterization


def descent(
    p: Parameterization,
    theta: dict[str, Any],
    X: Any,
    y: Any,
    rate: float,
    *,
    steps: int,
    every: int,
) -> Run:
    """Full batches on <x_i, w(theta)>; the trace has every factor, and w as "w"."""
    rows = np.asarray(X).reshape(len(X), -1)
    problem = Problem(lambda factors, x: x @ p(factors).reshape(-1), theta, data=(rows, y))
    observe = {name: lambda factors, name=name: factors[name] for name in p.shapes}
    return simulate(
        problem,
        SGD(rate),
        steps=steps,
        every=every,
        observe=observe | {"w": p},
        progress=False,
    )
