"""A linear model of products, trained in several ways, and what each way is predicted to find.

Common to the studies of sparse spectra and of total variation: labels y = x z + noise, of which a
plain model trains z and a designed one the factors of z = u1 u2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.dynamics import SGD, Problem, Run, simulate
from symbias.dynamics.problem import Params
from symbias.estimators import DesignedRegressor
from symbias.mechanisms import GradientFlow
from symbias.parameterizations import Hadamard

Numpy = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Data:
    """One seed: features x, labels y, the true z, and the starts of both models.

    `synthesis` maps z to the signal, in the entries of which the mean squared error is taken;
    `analysis` maps what the plain model trains to z.
    """

    x: Numpy
    y: Numpy
    truth: Numpy
    synthesis: Numpy
    analysis: Numpy
    plain: Numpy
    factors: dict[str, Numpy]

    def error(self, z: Numpy) -> Numpy:
        """Mean squared error of the signal, of z (..., size)."""
        return np.mean(((z - self.truth) @ self.synthesis.T) ** 2, axis=-1)


def coordinates(p: Params) -> Array:
    """What the features multiply: a product in the designed model."""
    return p["z"] if "z" in p else p["u1"] * p["u2"]


def predict(p: Params, x: Array) -> Array:
    return x @ coordinates(p)


def lasso_loss(strength: float) -> Any:
    """predict, loss of the plain model with a subgradient of strength |z|_1."""

    def with_penalty(p: Params, x: Array) -> tuple[Array, Array]:
        return x @ p["z"], strength * jnp.sum(jnp.abs(p["z"]))

    def loss(out: tuple[Array, Array], y: Array) -> Array:
        return jnp.mean((out[0] - y) ** 2) / 2 + out[1]

    return {"predict": with_penalty, "loss": loss}


def train(
    data: Data,
    rule: SGD,
    steps: int,
    *,
    designed: bool = True,
    subgradient: float = 0.0,
    key: int = 0,
    records: int = 100,
    path: Any = None,
) -> Run:
    """Train either model; `path_of` gives z along the run."""
    params = data.factors if designed else {"z": data.plain}
    params = {k: v.astype(np.float32) for k, v in params.items()}
    how: Any = lasso_loss(subgradient) if subgradient else {"predict": predict}
    x = data.x if designed else data.x @ data.analysis
    problem = Problem(params=params, data=(x, data.y), **how)
    return simulate(
        problem, rule, steps=steps, every=max(1, steps // records), key=key, path=path,
        observe={"z": coordinates}, progress=False,
    )  # fmt: skip


def path_of(run: Run, data: Data) -> Numpy:
    """z along a run of `train`, (records, size)."""
    seen = run.trace.z.values[0].astype(float)
    return seen @ data.analysis.T if "z" in run.final else seen


def flow_prediction(data: Data, z: Numpy) -> Numpy:
    """What gradient flow has at the time when its predictions are those of z.

    All along a mirror flow, and not at its end alone, w has the least Bregman divergence from the
    start among all that make the same predictions.
    """
    p = Hadamard(len(data.truth))
    flow = GradientFlow(1.0)  # its scale is not used: the factors at the start are given
    return flow.bregman_projection(p, data.x, data.x @ z, data.factors)


def flow_misses(data: Data, z: Numpy) -> float:
    """Relative distance of z from `flow_prediction`, measured in the signal."""
    return relative(data, z, flow_prediction(data, z))


def convex_optimum(data: Data, strength: float, weights: Numpy | float = 1.0) -> Numpy:
    """argmin |x z - y|^2 / (2 n) + strength sum_j weights_j |z_j|, with its duality gap."""
    model = DesignedRegressor("l1", strength=strength, fit_intercept=False, tol=1e-8)
    return model.fit(data.x / weights, data.y).coef_ / weights


def best_strength(data: Sequence[Data], strengths: Numpy) -> tuple[float, Numpy]:
    """The strength of least median error over seeds, and all errors (seeds, strengths)."""
    errors = np.array([[d.error(convex_optimum(d, s)) for s in strengths] for d in data])
    return float(strengths[np.argmin(np.median(errors, axis=0))]), errors


def relative(data: Data, z: Numpy, reference: Numpy) -> float:
    """Distance of two signals over the norm of the second."""
    signal = data.synthesis @ reference
    return float(np.linalg.norm(data.synthesis @ z - signal) / np.linalg.norm(signal))
