"""The logistic loss of two or several classes, and its logarithm, for losses that underflow."""

import math

import jax
import jax.numpy as jnp

from symbias.dynamics.problem import Array

_FAR = 30.0  # margins beyond which log(1 + exp(-z)) is exp(-z) to rounding


def logistic_loss(prediction: Array, target: Array) -> Array:
    """Mean of log(1 + exp(-z)), z = target * prediction; the cross entropy of several classes.

    Parameters
    ----------
    prediction : array (n,) or (n, classes)
        Of classes, the scores of the softmax.
    target : array (n,)
        +1 and -1, or the column of the own class as an integer.

    Raises
    ------
    ValueError
        For other shapes, or columns that are no integers.
    """
    return jnp.mean(jax.nn.softplus(-soft_margins(prediction, target)))


def log_logistic_loss(prediction: Array, target: Array) -> Array:
    """The logarithm of `logistic_loss`, finite and differentiable where that underflows."""
    z = soft_margins(prediction, target)
    near = jnp.where(z < _FAR, z, 0.0)
    each = jnp.where(z < _FAR, jnp.log(jax.nn.softplus(-near)), -z)
    return jax.nn.logsumexp(each) - math.log(len(z))


def soft_margins(prediction: Array, target: Array) -> Array:
    """z of every sample: target * prediction, or own score - log sum exp of the other ones."""
    if target.ndim != 1 or prediction.shape[:1] != target.shape or prediction.ndim > 2:
        raise ValueError(
            f"predictions {prediction.shape} and targets {target.shape} do not fit: give (n,) and "
            "(n,) with targets +1 and -1, or (n, classes) and (n,) with columns of classes"
        )
    if prediction.ndim == 1:
        return target * prediction
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise ValueError(f"targets of several classes must be integers, got {target.dtype}")
    own = target[:, None] == jnp.arange(prediction.shape[1])
    others = jnp.where(own, -jnp.inf, prediction)
    return jnp.sum(jnp.where(own, prediction, 0.0), axis=1) - jax.nn.logsumexp(others, axis=1)
