r"""Label noise at learning rates of any size: the drift along the manifold of zero loss.

Where every label is fitted, :math:`f_i(\theta) = y_i`, noise of a small std sigma on the labels
makes theta fluctuate about a point of that manifold, across it, with the stationary covariance S,
and move along it with the mean of the second order, the batch being drawn after theta,

.. math:: E[\Delta\theta] = -\frac\eta{1-\beta} P\,\tfrac12\nabla^3 L : S
    = -\frac\eta{1-\beta} P\,\frac1n\sum_i K_i S g_i,
    \qquad g_i = \nabla f_i,\; K_i = \nabla^2 f_i,

P the projection on the tangents. To first order in :math:`\sigma^2` these are all orders in eta.

References
----------
Damian, Ma, Lee, "Label noise SGD provably prefers flat global minimizers", NeurIPS 2021, for full
batches; Blanc, Gupta, Valiant, Valiant, COLT 2020, to first order. The covariance with batches is
derived here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from symbias._core.arrays import Array, check_dict
from symbias._core.extras import needed_by
from symbias._core.refusal import Refused
from symbias.mechanisms.fluctuations import stationary
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import (
    Parameterization,
    check_inputs,
    compressed,
    jacobian,
    measurements,
)

if TYPE_CHECKING:
    from symbias.mechanisms.label_noise import LabelNoise

Params = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Drift:
    """What label noise does at factors that fit their labels, on the average over its draws.

    Attributes
    ----------
    theta : dict of arrays
        Expected change of every factor in one step, along the manifold of zero loss.
    w : array
        That of the effective parameter.
    covariance : array (parameters, parameters)
        Of the fluctuations of theta across the manifold, in units of theta^2; names in sorted
        order, entries of an array in order.
    """

    theta: Params
    w: np.ndarray
    covariance: np.ndarray


class _Point(NamedTuple):
    """The Hessian of the loss at some factors that fit."""

    slopes: np.ndarray  # dw/d theta, (size of w, parameters)
    basis: np.ndarray  # (parameters, rank)
    curvatures: np.ndarray  # (rank,), of the loss, which has no others but 0


def drift(
    mechanism: "LabelNoise", p: Parameterization, theta: Mapping[str, Array], inputs: Array
) -> Drift:
    """`LabelNoise.drift`."""
    count, rows = _data(p, inputs)
    if mechanism.batch_size is None:
        rows = compressed(rows)
    with needed_by("the drift under label noise"):
        import jax
        from jax.flatten_util import ravel_pytree

    with jax.enable_x64(True):
        factors: Any = _checked(p, theta)
        at = _point(p, factors, rows, count, mechanism)
        ways = mechanism.sigma * (at.basis @ _root(mechanism, at, rows, count))
        force = np.asarray(_force(p)(factors, ways.T, rows)) / count
        step = -mechanism.rate * (force - at.basis @ (at.basis.T @ force))
        moved = {
            k: np.asarray(v) for k, v in ravel_pytree(factors)[1](jax.numpy.asarray(step)).items()
        }
    return Drift(moved, (at.slopes @ step).reshape(p.shape), ways @ ways.T)


def penalty_at(
    mechanism: "LabelNoise", p: Parameterization, theta: Mapping[str, Array], inputs: Array
) -> float:
    """`LabelNoise.penalty_at`."""
    _full_batches(mechanism)
    count, rows = _data(p, inputs)
    with needed_by("the penalty of label noise at factors"):
        import jax

    with jax.enable_x64(True):
        at = _point(p, _checked(p, theta), compressed(rows), count, mechanism)
    return _logarithm(mechanism, at.curvatures, count)


def least_penalty(mechanism: "LabelNoise", p: Parameterization, w: Array, inputs: Array) -> float:
    """`LabelNoise.least_penalty`."""
    _full_batches(mechanism)
    count, rows = _data(p, inputs)
    theta = {k: np.asarray(v) for k, v in p.section(np.asarray(w, dtype=float)).items()}
    found = p.products(theta)
    if found is None:
        raise Refused(
            f"the least over the factors of w is known where they are products of numbers, which "
            f"{p!r} is not: there every gradient has its own least size, at balanced factors"
        )
    squares = np.concatenate([np.ones(len(found.plain)), found.least_slopes])
    features = compressed(rows @ synthesis_matrix(p)) * np.sqrt(squares / count)
    curvatures = np.linalg.svdvals(features) ** 2
    _check_edge(mechanism, curvatures)
    return _logarithm(mechanism, curvatures, count)


def _logarithm(mechanism: "LabelNoise", curvatures: np.ndarray, count: int) -> float:
    """eta sigma^2/(n (1 - beta)) times -((1 + beta)/(2 eta)) sum log(1 - eta h/(2 (1 + beta)))."""
    edge = 2 * (1 + mechanism.momentum) / mechanism.learning_rate
    size = -edge / 4 * float(np.sum(np.log1p(-curvatures / edge)))
    return mechanism.rate * mechanism.sigma**2 / count * size


def _data(p: Parameterization, inputs: Array) -> tuple[int, np.ndarray]:
    """Number of samples, and all their outputs as rows."""
    x = np.asarray(inputs, dtype=float)
    check_inputs(x, p.shape)
    return len(x), np.asarray(measurements(x, p.shape))


def _checked(p: Parameterization, theta: Mapping[str, Array]) -> Params:
    check_dict(theta)
    factors = {k: np.asarray(v, dtype=float) for k, v in theta.items()}
    if not np.all(np.isfinite(np.asarray(p(factors)))):
        raise ValueError("theta gives a w that is not finite")
    return factors


def _point(
    p: Parameterization, theta: Params, rows: np.ndarray, count: int, mechanism: "LabelNoise"
) -> _Point:
    slopes = np.asarray(_slopes(p)(theta))
    gradients = rows @ slopes
    _, size, ways = np.linalg.svd(gradients, full_matrices=False)
    kept = size > max(gradients.shape) * np.finfo(float).eps * np.max(size, initial=0.0)
    basis = ways[kept].T
    curvatures = size[kept] ** 2 / count
    _check_edge(mechanism, curvatures)
    return _Point(slopes, basis, curvatures)


def _root(mechanism: "LabelNoise", at: _Point, rows: np.ndarray, count: int) -> np.ndarray:
    """Z with S = Z Z^T in the eigenbasis, for label noise of std 1."""
    eta, beta, batch = mechanism.learning_rate, mechanism.momentum, mechanism.batch_size
    if batch is None:
        found = stationary(at.curvatures, eta, beta, count)
    else:
        seen = rows @ at.slopes @ at.basis
        each = seen.reshape(count, len(rows) // count, seen.shape[1])
        found = stationary(at.curvatures, eta, beta, batch, each)
    size, turn = np.linalg.eigh(found)
    return turn * np.sqrt(np.clip(size, 0, None))


def _check_edge(mechanism: "LabelNoise", curvatures: np.ndarray) -> None:
    edge = 2 * (1 + mechanism.momentum) / mechanism.learning_rate
    if (sharpest := np.max(curvatures, initial=0.0)) >= edge:
        raise Refused(
            f"the largest curvature {sharpest:.4g} is not below 2 (1 + momentum) / learning_rate = "
            f"{edge:.4g}: steps of this size leave these factors"
        )


def _full_batches(mechanism: "LabelNoise") -> None:
    if mechanism.batch_size is not None:
        raise Refused(
            f"batches of {mechanism.batch_size}: beyond first order the drift is no gradient of a "
            "function of the factors (its work around a loop is not 0) and there is no penalty; "
            "ask drift(p, theta, inputs)"
        )


@lru_cache(maxsize=32)
def _slopes(p: Parameterization) -> Callable[[Any], Array]:
    import jax

    return jax.jit(lambda theta: jacobian(p, theta))


@lru_cache(maxsize=32)
def _force(p: Parameterization) -> Callable[[Any, Array, Array], Array]:
    """sum_i K_i S g_i as the gradient of 1/2 sum_i g_i^T S g_i at a fixed S = sum of z z^T."""
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    def force(theta: Any, ways: Array, rows: Array) -> Array:
        flat, unravel = ravel_pytree(theta)

        def outputs(v: Array) -> Array:
            return rows @ jnp.ravel(p(unravel(v)))

        def size(v: Array) -> Array:
            moves = jax.vmap(lambda z: jax.jvp(outputs, (v,), (z,))[1])(ways)
            return jnp.sum(moves**2) / 2

        return jax.grad(size)(flat)

    return jax.jit(force)
