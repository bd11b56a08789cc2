"""Where gradient flow and gradient descent end, against the Bregman projection.

For each scale of the start: the flow by a stiff solver, the projection without any flow, plain
descent at halving learning rates, and the distance to the interpolators of least l2 and l1 norm.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog

from symbias.maps import CumulativeSum
from symbias.mechanisms import GradientFlow
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Hadamard, Parameterization, Synthesis
from symbias.report.page import Section

SCALES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
RATES = (0.02, 0.01, 0.005)
MOST_STEPS = 20_000_000
SLOWEST = {"Hadamard, depth 3": 1e-2, "differences": 0.1}  # descent below takes > 10^7 steps
Case = tuple[str, Parameterization, np.ndarray, np.ndarray]


def cases(key: int = 0, samples: int = 10, size: int = 20) -> list[Case]:
    """Name, parameterization, inputs and labels of under-determined problems with sparse truth."""
    rng = np.random.default_rng(key)
    inputs = rng.normal(size=(samples, size))
    sparse = np.zeros(size)
    sparse[:4] = [2.0, -1.0, 0.5, 1.5]
    y = inputs @ sparse + 0.1 * rng.normal(size=samples)
    steps = inputs @ np.cumsum(sparse)
    differences = Synthesis(CumulativeSum(free=0), Hadamard(size))
    return [
        ("Hadamard", Hadamard(size), inputs, y),
        ("Hadamard, depth 3", Hadamard(size, depth=3), inputs, y),
        ("differences", differences, inputs / np.sqrt(size), steps / np.sqrt(size)),
    ]


def rows(
    problems: Sequence[Case] | None = None,
    scales: Sequence[float] = SCALES,
    rates: Sequence[float] = RATES,
) -> list[dict[str, Any]]:
    """One row of `limit_row` for every problem and scale of the start.

    Descent is left out where its rate is too large (scales above 1) or its steps are too many
    (depth 3 and differences from tiny starts).
    """
    found = []
    for name, p, inputs, y in cases() if problems is None else problems:
        for scale in scales:
            tried = rates if SLOWEST.get(name, 0.0) <= scale <= 1 else ()
            found.append({"setting": name, **limit_row(p, inputs, y, scale, tried)})
    return found


def limit_row(
    p: Parameterization,
    inputs: np.ndarray,
    y: np.ndarray,
    init_scale: float,
    rates: Sequence[float] = RATES,
) -> dict[str, Any]:
    """The selected interpolator, four ways.

    Returns
    -------
    dict
        "init_scale"; "flow_error", the largest entry of flow less projection; "descent_errors",
        of descent less projection, one for each of "learning_rates"; "to_l2" and "to_l1", relative
        distances of the projection to the interpolators of least norm of z, w = A z (z = w
        without a synthesis).
    """
    flow = GradientFlow(init_scale)
    projected = flow.bregman_projection(p, inputs, y)
    integrated = flow.interpolator(p, inputs, y)
    descended = [descend(p, inputs, y, flow.init(p), rate) for rate in rates]
    synthesis = synthesis_matrix(p)
    features, z = inputs @ synthesis, np.linalg.solve(synthesis, projected)
    l2, l1 = least_l2(features, y), least_l1(features, y)
    return {
        "init_scale": init_scale,
        "flow_error": float(np.abs(integrated - projected).max()),
        "learning_rates": list(rates),
        "descent_errors": [float(np.abs(w - projected).max()) for w in descended],
        "to_l2": float(np.linalg.norm(z - l2) / np.linalg.norm(l2)),
        "to_l1": float(np.linalg.norm(z - l1) / np.linalg.norm(l1)),
        "w": projected.tolist(),
    }


def descend(
    p: Parameterization,
    inputs: np.ndarray,
    y: np.ndarray,
    start: dict[str, np.ndarray],
    learning_rate: float,
    tolerance: float = 1e-10,
) -> np.ndarray:
    """Plain gradient descent on 1/(2n) |inputs @ w - y|^2 to residuals of `tolerance`.

    Raises
    ------
    ValueError
        If it does not get there, as for a learning rate that is too large.
    """
    with jax.enable_x64(True):
        x, target = jnp.asarray(inputs), jnp.asarray(y)

        def miss(params: Any) -> Any:
            return jnp.sum(x * p(params)[None], axis=1) - target

        gradient = jax.grad(lambda params: jnp.mean(miss(params) ** 2) / 2)

        def far(state: Any) -> Any:
            return (state[1] < MOST_STEPS) & (jnp.abs(miss(state[0])).max() > tolerance)

        def step(state: Any) -> Any:
            params, count = state
            grads = gradient(params)
            return {k: v - learning_rate * grads[k] for k, v in params.items()}, count + 1

        first = {k: jnp.asarray(v) for k, v in start.items()}
        end = jax.jit(lambda s: jax.lax.while_loop(far, step, s))((first, 0))[0]
        if not float(jnp.abs(miss(end)).max()) <= tolerance:
            raise ValueError(f"descent at learning rate {learning_rate} did not converge")
        return np.asarray(p(end))


def least_l2(inputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The w of least l2 norm with inputs @ w = y."""
    return np.linalg.lstsq(inputs, y, rcond=None)[0]


def least_l1(inputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A w of least l1 norm with inputs @ w = y, by linear programming."""
    size = inputs.shape[1]
    found = linprog(np.ones(2 * size), A_eq=np.hstack([inputs, -inputs]), b_eq=y)
    return found.x[:size] - found.x[size:]


def measure(quick: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Ends of the flow at seven scales of the start, and of descent at two; ``quick`` at three."""
    scales = (1.0, 1e-2, 1e-6) if quick else SCALES[1:]
    return {
        "flow": rows(cases()[:1], scales, rates=()),
        "descent": rows(cases()[:1], (1e-2,) if quick else (1.0, 1e-2)),
    }


def section(found: Mapping[str, list[dict[str, Any]]]) -> Section:
    """Where gradient flow and descent end, for a page."""
    table = [["scale", "flow less projection", "to least l2", "to least l1"]]
    for r in found["flow"]:
        numbers = [f"{r[k]:.1e}" for k in ("flow_error", "to_l2", "to_l1")]
        table.append([f"{r['init_scale']:g}", *numbers])
    steps = [["scale", "learning rate", "descent less projection"]]
    for r in found["descent"]:
        for rate, error in zip(r["learning_rates"], r["descent_errors"], strict=True):
            steps.append([f"{r['init_scale']:g}", f"{rate:g}", f"{error:.2e}"])
    worst = max(r["flow_error"] for r in found["flow"])
    return Section(
        "Which interpolator",
        "w = u v, 10 samples of 20 inputs: the flow by a stiff solver, and its prediction.",
        answer=f"The flow ends within {worst:.1e} of the Bregman projection at every scale.",
        figures=[("The selected interpolator, between least l2 and least l1.", _figure(found))],
        tables=[("The flow.", table), ("Gradient descent: errors follow its rate.", steps)],
    )


def _figure(found: Mapping[str, list[dict[str, Any]]]) -> str:
    from symbias.report.style import FIT, MARK, axes, svg

    rows = found["flow"]
    scales = [r["init_scale"] for r in rows]
    with axes(6.0, 3.0) as (drawn, ax):
        ax.loglog(scales, [r["to_l2"] for r in rows], "o-", color=FIT, label="to least l2")
        ax.loglog(scales, [r["to_l1"] for r in rows], "s--", color=MARK, label="to least l1")
        ax.set(xlabel="scale of the start", ylabel="relative distance", title="From l2 to l1")
        ax.legend()
        return svg(drawn)
