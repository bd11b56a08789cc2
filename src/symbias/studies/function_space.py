"""Functions that two-layer ReLU networks of one input learn under weight decay, and those foretold.

Runs know the loss, the weights and their decay alone; the prediction knows functions alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symbias.dynamics import Optax, Problem, Run, simulate
from symbias.mechanisms import FunctionSpace, PiecewiseLinear
from symbias.studies.claims import Claim, in_range
from symbias.studies.verification import Verification

Row = dict[str, Any]
WIDTH, STEPS, RATE = 100, 20_000, 0.01
PROBLEMS, SAMPLES, NOISE, STRENGTH = 10, 30, 0.1, 0.01
EXCESS, AWAY = 0.008, 0.012  # of the objective, and of the deviation of the function
NARROW = 20


class Setting(NamedTuple):
    """A network, the slope that is added to the data, and another prediction to tell apart."""

    name: str
    mechanism: FunctionSpace
    rival: FunctionSpace
    slope: float = 0.0
    width: int = WIDTH


_SKIP = FunctionSpace(STRENGTH)
_NONE = FunctionSpace(STRENGTH, skip=False)
_BIASES = FunctionSpace(STRENGTH, decayed_biases=True)
_NEITHER = FunctionSpace(STRENGTH, skip=False, decayed_biases=True)
SETTINGS = (
    Setting("skip", _SKIP, _BIASES, 2.0),
    Setting("no skip", _NONE, _SKIP, 2.0),
    Setting("skip, biases decayed", _BIASES, _SKIP, 2.0),
    Setting("no skip, biases decayed", _NEITHER, _NONE, 2.0),
)
STUCK = Setting("skip, narrow", _SKIP, _BIASES, 2.0, NARROW)


def problem(seed: int, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Uneven points, and |x| - 1.5 (x - 1)_+ + slope x with noise."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-2, 2, SAMPLES))
    clean = np.abs(x) - 1.5 * np.maximum(x - 1, 0) + slope * x
    return x, clean + NOISE * rng.normal(size=SAMPLES)


def trained(
    mechanism: FunctionSpace,
    x: np.ndarray,
    y: np.ndarray,
    *,
    width: int = WIDTH,
    steps: int = STEPS,
    replicas: int = 1,
    key: int = 0,
) -> Run:
    """Networks trained by full-batch Adam, their squares in the loss, its rate falling to zero."""
    skip = {"a": jnp.zeros(())} if mechanism.skip else {}

    def start(key: Any) -> dict[str, Any]:
        first, second, third = jax.random.split(key, 3)
        u = jax.random.normal(first, (width,))
        knots = jax.random.uniform(third, (width,), minval=x.min(), maxval=x.max())
        v = jax.random.normal(second, (width,)) / width
        return {"u": u, "v": v, "b": -u * knots, "c": jnp.zeros(())} | skip

    decayed = dict.fromkeys("uv", True) | {"b": mechanism.decayed_biases, "c": False}
    decay = optax.add_decayed_weights(mechanism.strength, decayed | dict.fromkeys(skip, False))
    adam = optax.adam(optax.cosine_decay_schedule(RATE, steps))
    made = Problem(FunctionSpace.network, start, data=(x, y))
    rule = Optax(optax.chain(decay, adam))
    options: Row = {"replicas": replicas, "key": key, "every": steps, "progress": False}
    return simulate(made, rule, steps=steps, **options)


def networks(run: Run) -> list[dict[str, np.ndarray]]:
    """The weights of every replica, in float64."""
    count = len(run.diverged)
    return [{k: a[i].astype(float) for k, a in run.final.items()} for i in range(count)]


def objective(
    mechanism: FunctionSpace, theta: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray
) -> float:
    """Loss and squares of the weights, as they were trained."""
    loss = np.mean((FunctionSpace.network(theta, x) - y) ** 2) / 2
    decayed = "uvb" if mechanism.decayed_biases else "uv"
    return float(loss + mechanism.strength / 2 * sum(np.sum(theta[k] ** 2) for k in decayed))


def row(setting: Setting, seed: int) -> Row:
    """One network against its prediction.

    Returns
    -------
    dict
        "excess" of the objective over the least, relative; "away", the distance at data of the
        network from the prediction and "rival" from the rival one, over the deviation of the
        function; "outside", how far it leaves the band of minimisers on the range of the data,
        and "band", how wide that is, both over the deviation; "orbit", the squares of the weights
        over the least of all networks of the same function; "gap", relative.
    """
    x, y = problem(seed, setting.slope)
    foretold, rival = setting.mechanism.fit(x, y), setting.rival.fit(x, y)
    run = trained(setting.mechanism, x, y, width=setting.width, key=seed)
    theta = networks(run)[0]
    function = PiecewiseLinear.of_network(theta)
    unit = float(np.std(foretold.values))
    at = np.linspace(x[0], x[-1], 2001)
    low, high = foretold.band(at)
    seen, squares = function(at), ("uvb" if setting.mechanism.decayed_biases else "uv")
    size = sum(float(np.sum(theta[k] ** 2)) for k in squares) / 2
    return {
        "setting": setting.name,
        "seed": seed,
        "excess": objective(setting.mechanism, theta, x, y) / foretold.objective - 1,
        "away": _distance(function(x), foretold(x)) / unit,
        "rival": _distance(function(x), rival(x)) / unit,
        "outside": float(np.maximum(low - seen, seen - high).max()) / unit,
        "band": float((high - low).max()) / unit,
        "orbit": size / setting.mechanism.norm(function),
        "gap": foretold.gap / foretold.objective,
    }


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))
