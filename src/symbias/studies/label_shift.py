r"""The shift of a least-squares solution under label noise: predicted, then measured.

On an over-determined problem the loss alone has one minimum w. Label noise moves the mean of w by
:math:`-S^{-1} \nabla R(w)`, S the mean of x x^T and R the penalty of `LabelNoise`. Replicas come in
pairs whose label noise has opposite signs, so that fluctuations cancel to first order.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias.dynamics import SGD, Problem, simulate
from symbias.mechanisms import LabelNoise, least_gradients
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    MatrixProduct,
    Parameterization,
    jacobian,
    measurements,
)
from symbias.report.page import Section

RATES = (0.0015, 0.003, 0.006)
RECORDS = 4  # in a relaxation time
Setting = tuple[str, Parameterization, np.ndarray, np.ndarray]


def settings(key: int = 0) -> list[Setting]:
    """Name, parameterization, anisotropic inputs and labels of over-determined problems."""
    rng = np.random.default_rng(key)
    vector, matrix = (
        np.array([1.0, -0.8, 0.6, 1.2]),
        np.array([[1.0, 0.3], [-0.4, 0.9], [0.5, 0.2]]),
    )
    groups = np.array([0, 0, 1, 1])
    sensing = rng.normal(size=(12, 3, 2)) * np.array([[1.3], [1.0], [0.7]])
    return [
        ("Hadamard", Hadamard(4), *_labelled(rng, vector, 8)),
        ("Hadamard, depth 3", Hadamard(4, depth=3), *_labelled(rng, vector, 8)),
        ("groups", GroupProduct(4, groups=groups), *_labelled(rng, vector, 8)),
        ("P Q, x @ W", MatrixProduct(3, 2), *_labelled(rng, matrix, 8)),
        ("P Q, <A, W>", MatrixProduct(3, 2), sensing, _responses(rng, sensing, matrix)),
    ]


def rows(
    cases: Iterable[Setting] | None = None, rates: Sequence[float] = RATES, **options: Any
) -> list[dict[str, Any]]:
    """One row of `shift_row` for every setting and learning rate."""
    cases = settings() if cases is None else cases
    return [
        {"setting": name, **shift_row(p, inputs, y, rate, **options)}
        for name, p, inputs, y in cases
        for rate in rates
    ]


def predicted_shift(
    mechanism: LabelNoise, p: Parameterization, w: np.ndarray, inputs: np.ndarray
) -> np.ndarray:
    """-S^-1 grad R(w), to first order in the learning rate, of the shape of w.

    Raises
    ------
    ValueError
        Where the penalty has no closed form to differentiate.
    """
    with jax.enable_x64(True):
        x = jnp.asarray(inputs, jnp.float64)
        slope = jax.grad(lambda v: mechanism.penalty(p, v, x))(jnp.asarray(w, jnp.float64))
    features = np.asarray(measurements(np.asarray(inputs), p.shape))
    second = features.T @ features / len(inputs)
    return -np.linalg.solve(second, np.ravel(np.asarray(slope))).reshape(p.shape)


def shift_row(
    p: Parameterization,
    inputs: np.ndarray,
    y: np.ndarray,
    learning_rate: float,
    *,
    sigma: float = 0.3,
    momentum: float = 0.0,
    pairs: int = 32,
    burn_in: float = 15.0,
    relaxations: float = 150.0,
    start: dict[str, np.ndarray] | None = None,
    key: int = 0,
) -> dict[str, Any]:
    """Predicted against measured shift of the mean of w, for full-batch SGD with label noise.

    Parameters
    ----------
    p, inputs, y
        A linear problem with one minimum in w; shapes as for `LabelNoise.penalty`.
    learning_rate, sigma, momentum : float
    pairs : int
        Antithetic pairs of replicas.
    burn_in, relaxations : float
        Steps before the measurement, and of it, in relaxation times of the slowest direction of w.
    start : dict, optional
        Factors to start at; by default those of the minimum with the least gradients. Elsewhere on
        the orbit `burn_in` must outlast the gauge: `LabelNoise.relaxation_time`.
    key : int

    Returns
    -------
    dict
        "predicted" (length of the shift), "measured" (component along it), "standard_error",
        "relative_error" (length of the difference of the vectors over the predicted one), and
        both vectors.

    Raises
    ------
    ValueError
        For a learning rate at which training cannot settle.
    """
    inputs, y = np.asarray(inputs, dtype=float), np.asarray(y, dtype=float)
    features = np.asarray(measurements(inputs, p.shape))
    w = np.linalg.lstsq(features, y.ravel(), rcond=None)[0].reshape(p.shape)
    mechanism = LabelNoise(sigma, learning_rate, momentum=momentum)
    predicted = predicted_shift(mechanism, p, w, inputs)
    settled = least_gradients(p, w, inputs / math.sqrt(len(inputs)))[0]
    curvatures = _curvatures(p, settled, features / math.sqrt(len(inputs)))
    edge = 2 * (1 + momentum) / curvatures[0]
    if learning_rate >= edge:
        raise ValueError(
            f"learning_rate {learning_rate:g} is too large: training leaves the least-squares "
            f"solution of this problem from {edge:.3g} on; the prediction needs well below that"
        )
    relaxation = 1 / (mechanism.rate * curvatures[-1])
    every = max(1, int(relaxation / RECORDS))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*replicas diverged", RuntimeWarning)
        run = simulate(
            Problem(_predictor(p, inputs), settled if start is None else start, data=(inputs, y)),
            SGD(learning_rate, label_noise=sigma, momentum=momentum),
            steps=every * int(RECORDS * (burn_in + relaxations)),
            replicas=2 * pairs,
            key=key,
            observe={"w": p},
            every=every,
            antithetic=True,
            progress=False,
        )
    if np.any(run.diverged >= 0):
        raise ValueError(
            f"learning_rate {learning_rate:g} is too large: training diverged at step "
            f"{run.diverged[run.diverged >= 0].min()}"
        )
    trace = run.trace["w"].values[:, int(RECORDS * burn_in) :].mean(axis=1) - w
    each = trace.reshape(pairs, 2, -1).mean(axis=1)
    size, direction = float(np.linalg.norm(predicted)), predicted.ravel()
    along = each @ direction / size
    measured = each.mean(axis=0)
    return {
        "learning_rate": learning_rate,
        "predicted": size,
        "measured": float(along.mean()),
        "standard_error": float(along.std(ddof=1) / math.sqrt(pairs)),
        "relative_error": float(np.linalg.norm(measured - direction) / size),
        "predicted_shift": predicted.tolist(),
        "measured_shift": measured.reshape(p.shape).tolist(),
    }


def _predictor(p: Parameterization, inputs: np.ndarray) -> Any:
    """predict(params, x) by products and sums, fast for small arrays."""
    single = inputs.shape[1:] == p.shape

    def predict(params: Any, x: Any) -> Any:
        w = p(params)
        if single:
            return jnp.sum(x * w, axis=tuple(range(1, x.ndim)))
        return jnp.sum(x[:, :, None] * w[None], axis=1)

    return predict


def _curvatures(p: Parameterization, params: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """The rates at which w relaxes, of J J^T S, falling: curvatures of the loss in theta."""
    with jax.enable_x64(True):
        slopes = jacobian(p, {k: jnp.asarray(v) for k, v in params.items()})
        return np.linalg.svdvals(rows @ np.asarray(slopes))[: math.prod(p.shape)] ** 2


def _labelled(rng: np.random.Generator, w: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    inputs = rng.normal(size=(n, len(w))) @ np.diag(np.linspace(1.3, 0.7, len(w)))
    return inputs, _responses(rng, inputs, w)


def _responses(rng: np.random.Generator, inputs: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Labels that w fits best, but not exactly."""
    features = np.asarray(measurements(inputs, w.shape))
    basis = np.linalg.qr(features)[0]
    rest = 0.3 * rng.normal(size=len(features))
    y = features @ w.ravel() + rest - basis @ (basis.T @ rest)
    return y if inputs.shape[1:] == w.shape else y.reshape(len(inputs), -1)


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of three settings at three learning rates; ``quick`` takes one of each."""
    wanted = ("Hadamard",) if quick else ("Hadamard", "groups", "P Q, x @ W")
    cases = [case for case in settings() if case[0] in wanted]
    return rows(cases, RATES[-1:] if quick else RATES, pairs=16, relaxations=100)


def section(found: Sequence[dict[str, Any]]) -> Section:
    """Shifts, predicted and measured, for a page."""
    table = [["setting", "learning rate", "predicted", "measured", "standard error", "error"]]
    for r in found:
        numbers = [f"{r[k]:.4e}" for k in ("predicted", "measured")]
        cells = [r["setting"], f"{r['learning_rate']:g}", *numbers, f"{r['standard_error']:.1e}"]
        table.append([*cells, f"{100 * r['relative_error']:.2f}%"])
    worst = max(r["relative_error"] for r in found)
    return Section(
        "The shift at small learning rates",
        "Length of the shift of the mean of w; the error is that of the whole vector.",
        answer=f"The largest error of a predicted shift is {100 * worst:.2f}%.",
        tables=[("Predicted and measured shifts, anisotropic inputs.", table)],
    )
