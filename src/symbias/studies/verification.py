"""A design against its training: one number, a bound, and a verdict that can be wrong.

Each check trains a parameterization on a generated problem under its mechanism and holds what comes
out against a computation that knows nothing of factors.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Shape, as_shape
from symbias._core.refusal import Refused
from symbias.designs import design
from symbias.estimators import DesignedRegressor
from symbias.evidence import compare
from symbias.mechanisms import FunctionSpace, GradientFlow, LabelNoise, WeightDecay
from symbias.parameterizations import Parameterization, jacobian
from symbias.penalties import Penalty, TrendFilter, as_penalty
from symbias.studies.flow_limits import limit_row
from symbias.studies.label_shift import shift_row
from symbias.studies.tables import TEMPERATURE, WELL, law_samples
from symbias.symmetry import log_volume

GAP = 1e-6  # of the objective, to a convex solver
WORST = 1e-2  # of the objective, to the best of several starts where it is not convex
FLOW = 1e-6  # of an interpolator, to its Bregman projection
SHIFT = 0.02  # of a shift, to its prediction, beside 3 standard errors
LEVEL = 0.01  # of a test of a law
REACH = 1e-34  # of a squared slope dw/d theta, to be simulated
STIFFEST = 6.0  # ratio of curvatures over four standard deviations of a simulated law


@dataclass(frozen=True)
class Verification:
    """Outcome of one check.

    Attributes
    ----------
    mechanism, quantity : str
    value, bound : float
        `verdict` is "verified" where value is at most bound ("p-value": at least).
    verdict : str
        Or "failed"; or "refused", with the reason in `note`.
    note : str
    points : pair of arrays
        Predicted and measured numbers, entry by entry; for a law the samples and its densities.
    """

    mechanism: str
    quantity: str = ""
    value: float = math.nan
    bound: float = math.nan
    verdict: Literal["verified", "failed", "refused"] = "refused"
    note: str = ""
    points: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return {k: v for k, v in asdict(self).items() if k != "points"}


def verify(
    penalty: Penalty | str, mechanism: Any, *, shape: int | Shape, key: int = 0
) -> Verification:
    """Train ``design(penalty, mechanism, shape=shape)`` under its mechanism, and judge it.

    * `WeightDecay`: objective of the trained estimator over that of a direct solver in w (Clarabel
      where convex, proximal gradient from 20 starts where not).
    * `LabelNoise`: shift of the mean of w, against the predicted one, by antithetic replicas.
    * `GradientFlow`: the flow's interpolator (stiff solver) against the Bregman projection.
    * `Langevin`: samples of w against the law; for gauge designs T log volume against the penalty,
      and samples of one entry against the law against dw, which is another.
    * `FunctionSpace`, which nothing is designed for: a ReLU network of width 100 trained at as many
      points as ``shape`` says, against the trend filter.

    Raises
    ------
    Refused
        Of `FunctionSpace` for any penalty but `TrendFilter`, or without its assumptions.
    ValueError, TypeError
        Where `design` refuses, or training under label noise does not settle.
    """
    penalty, shape = as_penalty(penalty), as_shape(shape)
    if isinstance(mechanism, FunctionSpace):
        return _verify_function(penalty, mechanism, shape, key)
    p = design(penalty, mechanism, shape=shape)
    if isinstance(mechanism, WeightDecay):
        return check_weight_decay(penalty, mechanism.strength, shape, key=key)
    if isinstance(mechanism, LabelNoise):
        options = {"sigma": mechanism.sigma, "momentum": mechanism.momentum}
        return check_label_noise(p, mechanism.learning_rate, **options, key=key)
    if isinstance(mechanism, GradientFlow):
        if (scale := mechanism.init_scale) is None:
            raise ValueError("verify takes sb.GradientFlow(init_scale): a design has no start yet")
        return check_gradient_flow(p, scale, key=key)
    single = design(penalty, mechanism, shape=())
    if mechanism.reference == "ambient":
        return check_gauge(p, single, penalty, mechanism.temperature, key=key)
    return check_langevin(single, key=key)


def _verify_function(
    penalty: Penalty, mechanism: FunctionSpace, shape: Shape, key: int
) -> Verification:
    """A network at points of the spacing of a trend filter."""
    from symbias.studies.function_space import check_function_space

    if not isinstance(penalty, TrendFilter) or penalty.joint or len(shape) != 1 or shape[0] < 3:
        raise Refused(
            f"{mechanism!r} is a penalty on functions, seen at three points or more: with a skip "
            f"sb.TrendFilter() of their values, and never {penalty!r} of shape {shape}"
        )
    if not mechanism.skip or mechanism.decayed_biases:
        raise Refused(
            f"{mechanism!r} is not trend filtering but {mechanism.formula}. "
            "symbias.studies.function_space.check_function_space(mechanism, x) verifies that"
        )
    penalty(np.zeros(shape))  # refuses another number of spaces
    spacing = np.ones(shape[0] - 1) if penalty.spacing is None else np.asarray(penalty.spacing)
    x = np.concatenate([[0.0], np.cumsum(spacing)])
    return check_function_space(mechanism, x - x.mean(), key=key)


def refused(mechanism: str, reason: str) -> Verification:
    """A check that was not made, and why."""
    return Verification(mechanism, note=reason)


def attempt(mechanism: str, check: Callable[[], Verification]) -> Verification:
    """The check, or the mechanism's own refusal."""
    try:
        return check()
    except (ValueError, TypeError) as error:
        return refused(mechanism, str(error))


def regression(shape: Shape, key: int, samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of unequal sizes, and labels of a sparse (low-rank, jumping) truth with noise."""
    rng = np.random.default_rng(key)
    size = shape[0]
    samples = 3 * size if samples is None else samples
    X = rng.normal(size=(samples, size)) * np.linspace(1.4, 0.6, size)
    truth = np.zeros(shape)
    truth[: max(1, size // 3)] = rng.choice([-1.0, 1.0]) * (1 + rng.random())
    y = X @ truth
    return X, y + 0.2 * rng.normal(size=y.shape)


def check_weight_decay(
    penalty: Penalty, strength: float, shape: Shape, *, key: int = 0, starts: int = 20
) -> Verification:
    """Objective of trained factors over that of a direct solver."""
    from symbias.solvers.reference import convex_reference, proximal_reference

    X, y = regression(shape, key)
    model = DesignedRegressor(penalty, strength, solver="varpro").fit(X, y)
    coef = model.coef_ if y.ndim == 1 else model.coef_.T
    if penalty.convex:
        reference = convex_reference(penalty, strength, X, y)
    else:
        reference = proximal_reference(penalty, strength, X, y, starts=starts)
    residual = y - X @ coef - model.intercept_
    objective = np.sum(residual**2) / (2 * len(y)) + strength * float(penalty(coef))
    gap = float(objective / reference.objective - 1)
    bound = GAP if penalty.convex else WORST
    return Verification(
        "weight decay",
        f"relative objective gap to {reference.solver}",
        gap,
        bound,
        "verified" if gap <= bound else "failed",
        f"objective {objective:.8g}",
        (np.ravel(reference.coef), np.ravel(coef)),
    )


def check_label_noise(
    p: Parameterization,
    learning_rate: float | None = None,
    *,
    sigma: float = 0.3,
    momentum: float = 0.0,
    key: int = 0,
    **options: Any,
) -> Verification:
    """Shift of the mean of w under label noise, against -S^-1 grad R(w).

    The learning rate is 1.5% of the inverse curvature unless it is given: the prediction is of
    first order in it.
    """
    rng = np.random.default_rng(key)
    truth = 0.8 + 0.4 * rng.random(p.shape)
    if len(p.shape) == 1 and p.signed:
        truth[1::2] *= -1
    inputs = rng.normal(size=(2 * p.shape[0] + 4, p.shape[0])) * np.linspace(1.2, 0.8, p.shape[0])
    basis = np.linalg.qr(inputs)[0]
    rest = 0.3 * rng.normal(size=(len(inputs), *p.shape[1:]))
    y = inputs @ truth + rest - basis @ (basis.T @ rest)  # the truth fits best
    if learning_rate is None:
        steepest = float(np.linalg.norm(inputs, 2) ** 2 / len(inputs))
        learning_rate = 0.015 * (1 - momentum) / (steepest * _curvature(p, jnp.asarray(truth)))
    mechanism, x = LabelNoise(sigma, learning_rate), inputs
    if mechanism.penalty(p, truth, x) == mechanism.penalty(p, 2 * truth, x):
        raise ValueError("the squared gradients do not depend on w: no penalty, no shift")
    options = {"sigma": sigma, "momentum": momentum, **options}
    row = shift_row(p, inputs, y, learning_rate, key=key, **options)
    error, spread = row["relative_error"], 3 * row["standard_error"] / row["predicted"]
    bound = SHIFT + spread
    return Verification(
        "label noise",
        "relative error of the shift",
        error,
        bound,
        "verified" if error <= bound else "failed",
        f"shift {row['predicted']:.3e} predicted, {row['measured']:.3e} measured",
        (np.ravel(row["predicted_shift"]), np.ravel(row["measured_shift"])),
    )


def check_gradient_flow(
    p: Parameterization, init_scale: float = 1e-2, *, key: int = 0
) -> Verification:
    """The flow's interpolator against the projection that its potential predicts."""
    size = p.shape[0]
    X, y = regression(p.shape, key, samples=max(2, size // 2))
    row = limit_row(p, X, y, init_scale, rates=())
    flow = GradientFlow(init_scale)
    error = row["flow_error"]
    return Verification(
        "gradient flow",
        "largest difference to the Bregman projection",
        error,
        FLOW,
        "verified" if error <= FLOW else "failed",
        f"distance to least l1: {row['to_l1']:.2g}, to least l2: {row['to_l2']:.2g}",
        (np.ravel(row["w"]), np.ravel(flow.interpolator(p, X, y))),
    )


def check_gauge(
    p: Parameterization,
    single: Parameterization,
    penalty: Penalty,
    temperature: float,
    *,
    replicas: int = 2000,
    key: int = 0,
) -> Verification:
    """T log volume of the orbit against the penalty, at random positive w; and the law against dw.

    ``single`` is the design of one entry, whose law is simulated.
    """
    w = np.abs(np.random.default_rng(key).normal(size=(16, *p.shape)))
    volumes = [temperature * float(log_volume(p.symmetry, p.section(v))) for v in w]
    wanted = [float(penalty(v)) for v in w]
    error = float(np.max(np.abs(np.array(volumes) / wanted - 1)))
    simulated = attempt(
        "Langevin",
        lambda: check_langevin(single, temperature=temperature, replicas=replicas, key=key),
    )
    sound = error <= FLOW and simulated.verdict != "failed"
    known = simulated.verdict == "verified"
    outcome = f"simulated: p = {simulated.value:.2g}" if known else simulated.note
    return Verification(
        "Langevin",
        "relative error of T log volume",
        error,
        FLOW,
        "verified" if sound else "failed",
        f"the ambient law; against dw the density is exp(-l/T) d|x|/dw; {outcome}",
        (np.array(wanted), np.array(volumes)),
    )


def check_langevin(
    p: Parameterization, *, temperature: float = TEMPERATURE, replicas: int = 2000, key: int = 0
) -> Verification:
    """Samples of w under Langevin noise without orbital part, against the law."""
    centre = jnp.ones(p.shape)
    if len(p.shape) == 2:
        centre = jnp.diag(jnp.linspace(1.6, 1.0, p.shape[0]))
    width, steepest, flattest = _well(p, centre)
    rule, loss, w = law_samples(
        p,
        centre,
        0.0,
        replicas=replicas,
        curvature=2 * steepest,  # the bias of a step is of first order in it
        relaxations=10 * steepest / flattest,
        temperature=temperature,
        width=width,
    )
    law = rule.law(p, loss)
    found = compare(law, w, level=LEVEL, key=key)
    first = np.ravel(w.reshape(len(w), -1)[:, 0])
    drawn = law.sample(2000 if p.shape not in ((), (1,)) else 20_000)
    return Verification(
        "Langevin",
        f"p-value ({found.test})",
        found.p_value,
        LEVEL,
        "verified" if found.p_value > LEVEL else "failed",
        f"{len(w)} samples, against dw",
        (first, np.ravel(drawn.reshape(len(drawn), -1)[:, 0])),
    )


def _well(p: Parameterization, centre: Any) -> tuple[float, float, float]:
    """A width of w within which one step size serves, and the extreme curvatures there."""
    at_centre = _curvature(p, centre)
    if p.shape != ():
        return WELL, at_centre, at_centre
    width = WELL
    while True:
        ends = [_curvature(p, centre + k * width) for k in (-2, 2)]
        if min(ends) < REACH:
            raise ValueError(
                f"{p!r} needs radii of about {min(ends) ** -0.5:.0e} at w = 1, which no step size "
                "serves in single precision: take a higher temperature"
            )
        if max(ends) <= STIFFEST * min(ends):
            return width, max(ends), min(ends)
        width /= 2


def _curvature(p: Parameterization, w: Any) -> float:
    """Largest eigenvalue of J J^T at the section of w: how much faster theta moves than w."""
    with jax.enable_x64(True):
        slopes = jacobian(p, p.section(jnp.asarray(w, float)))
        return float(np.linalg.norm(np.asarray(slopes), 2) ** 2)
