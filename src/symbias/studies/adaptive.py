"""Adam, AdamW and steepest descent: runs against the margins of norms, and against the box.

The runs know the loss and the factors alone, and their steps come from optax; the predictions are
a cone program and bounded least squares in w.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from symbias.dynamics import (
    Optax,
    Problem,
    log_logistic_loss,
    logistic_loss,
    simulate,
    steepest_descent,
)
from symbias.mechanisms import Adam, AdamW, SteepestDescent
from symbias.parameterizations import GroupProduct, Hadamard, Parameterization, Plain
from symbias.studies.margins import angle, separable

Row = dict[str, Any]
STEPS = 100_000
BOX_STEPS = 1_000_000
BETAS = ((0.9, 0.95), (0.9, 0.999))


class Setting(NamedTuple):
    """A way of training w itself, and the margin that it goes to."""

    name: str
    transformation: Callable[[], optax.GradientTransformation]
    mechanism: Adam | SteepestDescent
    loss: Callable[..., Any] = log_logistic_loss


def _falling(first: float) -> Callable[[Any], Any]:
    return lambda step: first / jnp.sqrt(1.0 + step)


def _adam(beta: float, eps: float = 0.0) -> Callable[[], optax.GradientTransformation]:
    return lambda: optax.adam(_falling(0.3), b1=0.9, b2=beta, eps=eps)


def _steepest(norm: str) -> Setting:
    mechanism = SteepestDescent(norm)
    return Setting(mechanism.label, lambda: steepest_descent(norm), mechanism)


SETTINGS = (
    *(Setting(f"Adam, beta_2 = {b2}", _adam(b2), Adam()) for _, b2 in BETAS),
    Setting("Adam on the loss itself, eps = 1e-8", _adam(0.999, 1e-8), Adam(), logistic_loss),
    *map(_steepest, ("linf", "l1", "l2", "spectral")),
)


def margin_row(setting: Setting, size: int, samples: int, seed: int, steps: int = STEPS) -> Row:
    """One run on the log of the logistic loss, or the loss itself, against its margin and a rival.

    The rival is l2, for l2 itself l_inf; w is a matrix of five columns where the norm is spectral.

    Returns
    -------
    dict
        "angle" and "rival_angle", in degrees; "ratio" of the margin of the run at norm 1 over the
        largest there is.
    """
    X, y = separable(size, samples, seed)
    shape = (size // 5, 5) if "spectral" in setting.name else (size,)
    p, inputs = Plain(shape), X.reshape(-1, *shape)
    found = setting.mechanism.direction(p, inputs, y)
    rival = SteepestDescent("linf" if setting.name.endswith("l2") else "l2")
    w = trained(p, X, y, setting.transformation(), steps, seed, setting.loss)
    return {
        "setting": setting.name,
        "features": size,
        "samples": samples,
        "seed": seed,
        "steps": steps,
        "angle": angle(w, found.w),
        "rival_angle": angle(w, rival.direction(p, inputs, y).w),
        "ratio": float(np.min(y * (X @ w.ravel())))
        / float(setting.mechanism.induced(p)(w))
        * found.R,
        "gap": found.gap,
    }


def trained(
    p: Parameterization,
    X: np.ndarray,
    y: np.ndarray,
    transformation: optax.GradientTransformation,
    steps: int,
    seed: int,
    loss: Callable[..., Any] = log_logistic_loss,
) -> np.ndarray:
    """w after so many steps from a small random start."""
    problem = Problem(_of_rows(p), p.init(seed, 0.01), loss, data=(X, y))
    run = simulate(problem, Optax(transformation), steps=steps, every=steps, progress=False)
    return np.asarray(p({name: a[0] for name, a in run.final.items()}))


class Boxed(NamedTuple):
    """A parameterization of so many features, and a decay that makes the box bind."""

    name: str
    of: Callable[[int], Parameterization]
    decay: float


BOXED = (
    Boxed("w", Plain, 1.0),
    Boxed("u v", Hadamard, 1.0),
    Boxed("u1 u2 u3", lambda size: Hadamard(size, depth=3), 1.0),
    Boxed("s v, groups of 4", lambda size: GroupProduct(size, groups=np.arange(size) // 4), 1.0),
)


def regression(size: int, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal inputs, a truth of normal entries of standard deviation 1.5, a little noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(samples, size))
    return X, X @ (1.5 * rng.normal(size=size)) + 0.1 * rng.normal(size=samples)


def box_row(
    setting: Boxed,
    betas: tuple[float, float],
    seed: int,
    size: int = 8,
    samples: int = 40,
    steps: int = BOX_STEPS,
) -> Row:
    """One full-batch run of AdamW on least squares, against the box and its KKT conditions.

    Returns
    -------
    dict
        "beyond", max |theta| less 1/lam; "residual" and "gap" of `AdamW.kkt`; "error", the largest
        difference between the run's w and bounded least squares; "unbounded", that without the
        box; "walls", how many entries of w lie on the box.
    """
    p, (X, y) = setting.of(size), regression(size, samples, seed)
    theta = decayed(p, X, y, betas, setting.decay, steps, seed)
    w, mechanism = np.asarray(p(theta)), AdamW(setting.decay, betas)
    point = mechanism.kkt(p, theta, X.T @ (X @ w - y) / samples)
    wanted = mechanism.least_squares(p, X, y)
    return {
        "setting": setting.name,
        "betas": betas,
        "seed": seed,
        "steps": steps,
        "beyond": point.largest - mechanism.wall,
        "residual": point.residual,
        "gap": point.gap,
        "error": float(np.abs(w - wanted).max()),
        "unbounded": float(np.abs(w - np.linalg.lstsq(X, y)[0]).max()),
        "walls": int(np.sum(np.abs(wanted) > mechanism.induced(p).bound - 1e-9)),
    }


def decayed(
    p: Parameterization,
    X: np.ndarray,
    y: np.ndarray,
    betas: Sequence[float],
    decay: float,
    steps: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Factors after AdamW at rates .1/(1 + k/100), from a random start."""
    rule = optax.adamw(
        lambda step: 0.1 / (1 + step / 100), b1=betas[0], b2=betas[1], weight_decay=decay
    )
    problem = Problem(_of_rows(p), p.init(seed, 0.5), data=(X, y))
    run = simulate(problem, Optax(rule), steps=steps, every=steps, progress=False)
    return {name: a[0] for name, a in run.final.items()}


def _of_rows(p: Parameterization) -> Callable[[Any, Any], Any]:
    return lambda theta, x: jnp.matmul(x, jnp.reshape(p(theta), (-1,)))
