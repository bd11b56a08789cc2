"""Functions that two-layer ReLU networks of one input learn under weight decay, and those foretold.

Runs know the loss, the weights and their decay alone; the prediction knows functions alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from symbias.dynamics import Optax, Problem, Run, simulate
from symbias.mechanisms import FunctionSpace, PiecewiseLinear
from symbias.report.page import Section
from symbias.studies.claims import Claim, in_range, tables
from symbias.studies.story import over_seeds
from symbias.studies.verification import Verification

Row = dict[str, Any]
WIDTH, STEPS, RATE = 100, 40_000, 0.01
PROBLEMS, SAMPLES, NOISE, STRENGTH = 10, 30, 0.1, 0.01
EXCESS, AWAY = 0.008, 0.012  # of the objective, and of the deviation of the function
WIDTHS, STARTS = (5, 10, 20, 50, 100), 16


class Setting(NamedTuple):
    """A network, another prediction to tell apart, and the slope that is added to the data."""

    name: str
    mechanism: FunctionSpace
    rival: FunctionSpace
    slope: float = 0.0


_SKIP = FunctionSpace(STRENGTH)
_NONE = FunctionSpace(STRENGTH, skip=False)
_BIASES = FunctionSpace(STRENGTH, decayed_biases=True)
_NEITHER = FunctionSpace(STRENGTH, skip=False, decayed_biases=True)
SETTINGS = (
    Setting("skip", _SKIP, _BIASES),
    Setting("no skip", _NONE, _SKIP, 2.0),
    Setting("skip, biases decayed", _BIASES, _SKIP),
    Setting("no skip, biases decayed", _NEITHER, _NONE, 2.0),
)


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
    loss = float(np.mean((FunctionSpace.network(theta, x) - y) ** 2)) / 2
    return loss + mechanism.strength * squares(mechanism, theta)


def squares(mechanism: FunctionSpace, theta: dict[str, np.ndarray]) -> float:
    """Half those of the weights that decay."""
    decayed = "uvb" if mechanism.decayed_biases else "uv"
    return sum(float(np.sum(theta[k] ** 2)) for k in decayed) / 2


def row(setting: Setting, seed: int) -> Row:
    """One network against its prediction.

    Returns
    -------
    dict
        "excess" of the objective over the least, relative; over the deviation of the function:
        "away" and "rival", the distances at data from the prediction and from the rival one,
        "outside", how far the network leaves the band of minimisers on the range of the data, and
        "band", how wide that is; "squares", those of the decayed weights over the least of all
        networks of the same function; "gap" of the prediction, relative.
    """
    x, y = problem(seed, setting.slope)
    foretold, rival = setting.mechanism.fit(x, y), setting.rival.fit(x, y)
    theta = networks(trained(setting.mechanism, x, y, key=seed))[0]
    function, unit = PiecewiseLinear.of_network(theta), float(np.std(foretold.values))
    at = np.linspace(x[0], x[-1], 2001)
    low, high = foretold.band(at)
    return {
        "setting": setting.name,
        "seed": seed,
        "excess": objective(setting.mechanism, theta, x, y) / foretold.objective - 1,
        "away": _distance(function(x), foretold(x)) / unit,
        "rival": _distance(function(x), rival(x)) / unit,
        "outside": float(np.maximum(low - function(at), function(at) - high).max()) / unit,
        "band": float((high - low).max()) / unit,
        "squares": squares(setting.mechanism, theta) / setting.mechanism.norm(function),
        "gap": foretold.gap / foretold.objective,
    }


def rows(problems: int = PROBLEMS) -> list[Row]:
    """Every setting on so many problems, about three seconds each."""
    return [found for setting in SETTINGS for found in over_seeds(partial(row, setting), problems)]


def stuck_row(width: int, starts: int = STARTS) -> Row:
    """How many starts end above the least objective by more than 0.8%, and the largest excess."""
    x, y = problem(0)
    run, least = trained(_SKIP, x, y, width=width, replicas=starts), _SKIP.fit(x, y).objective
    above = np.array([objective(_SKIP, theta, x, y) / least - 1 for theta in networks(run)])
    stuck = int(np.sum(above > EXCESS))
    return {"width": width, "starts": starts, "stuck": stuck, "largest": float(above.max())}


def claims(found: Sequence[Row]) -> list[Claim]:
    """What theory says of these rows, each with its verdict over problems."""
    made = []
    for name in dict.fromkeys(r["setting"] for r in found):
        of = [r for r in found if r["setting"] == name]
        for said, values, high in (
            ("objective over the least, less 1", [r["excess"] for r in of], EXCESS),
            ("distance at data, over the deviation", [r["away"] for r in of], AWAY),
            ("its share of that to the rival", [r["away"] / r["rival"] for r in of], 0.1),
            ("outside of the band, over the deviation", [r["outside"] for r in of], AWAY),
            ("squares over the least of the function, less 1", [r["squares"] - 1 for r in of],
             EXCESS),
        ):  # fmt: skip
            made.append(in_range(f"{name}: {said}", values, high=high, theory=True))
    return made


def check_function_space(mechanism: FunctionSpace, x: np.ndarray, *, key: int = 0) -> Verification:
    """A network of width 100 trained on noisy labels at points x, against its prediction."""
    rng = np.random.default_rng(key)
    unit = 2 * (x - x.mean()) / np.ptp(x)
    y = np.abs(unit) - 1.5 * np.maximum(unit - 0.5, 0) + NOISE * rng.normal(size=len(x))
    foretold, run = mechanism.fit(x, y), trained(mechanism, x, y, key=key)
    theta = networks(run)[0]
    excess = objective(mechanism, theta, x, y) / foretold.objective - 1
    seen = PiecewiseLinear.of_network(theta)(foretold.x)
    away = _distance(seen, foretold.values) / float(np.std(foretold.values))
    return Verification(
        "function space",
        "objective of a network over the least of all functions, less 1",
        excess,
        EXCESS,
        "verified" if excess <= EXCESS else "failed",
        f"its function {away:.2g} of the deviation away at data; {len(foretold.knots)} knots "
        f"predicted, gap {foretold.gap:.1g}",
        (foretold.values, seen),
    )


def picture(setting: Setting, starts: int = 6) -> Row:
    """Points of a parabola, whose minimisers are many, and networks from several starts."""
    x = np.array([-2.0, -1.2, -0.3, 0.5, 1.1, 2.0])
    y, at = x**2 / 2 + setting.slope * x, np.linspace(-2.6, 2.6, 401)
    foretold = setting.mechanism.fit(x, y)
    run = trained(setting.mechanism, x, y, replicas=starts)
    low, high = foretold.band(at)
    seen = [PiecewiseLinear.of_network(theta)(at).tolist() for theta in networks(run)]
    band = {"low": low.tolist(), "high": high.tolist()}
    return {"setting": setting.name, "x": x.tolist(), "y": y.tolist(), "at": at.tolist(), **band,
            "predicted": foretold(at).tolist(), "networks": seen}  # fmt: skip


def figure(pictures: Sequence[Row]) -> str:
    """One panel for each `picture`, as a data URI."""
    from symbias.report.style import DATA, FIT, INK, MARK, axes, svg

    with axes(3.2 * len(pictures), 3.0, len(pictures)) as (drawn, panels):
        for ax, one in zip(np.atleast_1d(panels), pictures, strict=True):
            at = one["at"]
            ax.fill_between(at, one["low"], one["high"], color=MARK, alpha=0.35, lw=0,
                            label="all minimisers")  # fmt: skip
            for i, seen in enumerate(one["networks"]):
                ax.plot(at, seen, color=FIT, lw=0.9, alpha=0.8, label=None if i else "networks")
            ax.plot(at, one["predicted"], color=INK, ls="--", lw=1.0, label="one minimiser")
            ax.scatter(one["x"], one["y"], s=14, color=DATA, zorder=3, label="data")
            ax.set(title=one["setting"], xlabel="x")
        first = np.atleast_1d(panels)[0]
        first.set(ylabel="f(x)")
        first.legend()
        return svg(drawn)


def measure(quick: bool = False) -> dict[str, list[Row]]:
    """`rows`, and pictures with and without a skip; ``quick``: one problem of the first setting."""
    if quick:
        return {"rows": [row(SETTINGS[0], 0)], "pictures": []}
    return {"rows": rows(), "pictures": [picture(setting) for setting in SETTINGS[:2]]}


def section(found: Mapping[str, Sequence[Row]]) -> Section:
    """Predictions, networks and verdicts, for a page."""
    header = ["network", "excess of the objective", "largest", "distance at data", "largest",
              "to the nearest rival", "outside of the band"]  # fmt: skip
    body = []
    for name in dict.fromkeys(r["setting"] for r in found["rows"]):
        own = {k: np.array([r[k] for r in found["rows"] if r["setting"] == name])
               for k in ("excess", "away", "rival", "outside")}  # fmt: skip
        numbers = [f"{g(own[k]):.1g}" for k in ("excess", "away") for g in (np.median, np.max)]
        body.append([name, *numbers, f"{own['rival'].min():.2g}", f"{own['outside'].max():.1g}"])
    worst = max(r["excess"] for r in found["rows"])
    drawn = [("Functions of trained networks in the band of all minimisers.",
              figure(found["pictures"]))] if found["pictures"] else []  # fmt: skip
    return Section(
        "Networks of width 100",
        "Distances over the deviation of the function.",
        answer=f"No objective ends more than {worst:.1g} above the least of all functions.",
        figures=drawn,
        tables=[("", [header, *body]), *tables([c.to_dict() for c in claims(found["rows"])])],
    )


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))
