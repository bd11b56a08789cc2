"""Orbits: w = u v, its level sets, and where three kinds of noise move a point along them.

The model is one product w = u v fitted to w = 1. Its orbits are the hyperbolas u v = const, along
which the charge Q = u^2 - v^2 changes; their log volume, 1/2 log(u^2 + v^2), is least on the
balanced slice u = v. Isotropic noise moves along orbits as it moves across them. Noise with no
component along orbits still moves the charge, because an orbit curves: dQ = -2T Q/(u^2 + v^2) dt,
without any randomness of its own. Gradient noise (SGD with label noise) has no such component
either, and takes Q to Q (1 - eta^2 g^2) in a step with the residual g.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.dynamics import SGD, Problem, simulate
from symbias.dynamics.problem import Params
from symbias.dynamics.rules import Langevin, Rule
from symbias.parameterizations import Hadamard
from symbias.report import style
from symbias.studies.claims import equal, in_range
from symbias.studies.story import Setup, Story
from symbias.symmetry import log_volume

MODEL, START = Hadamard(1), {"u1": np.array([2.4], "f4"), "u2": np.array([1 / 2.4], "f4")}
TEMPERATURE, STEP, RATE, LABEL_NOISE = 0.05, 2e-3, 0.05, 0.6
STEPS = {"isotropic": 4_000, "across orbits": 40_000, "gradient noise": 6_000}
COLORS = dict(zip(STEPS, (style.INK, style.FIT, style.MARK), strict=True))


def loss(w: Array) -> Array:
    return jnp.sum((w - 1) ** 2) / 2


def position(p: Params) -> Array:
    return jnp.concatenate([p["u1"], p["u2"]])


def setting(name: str) -> tuple[Problem, Rule]:
    """The same point under one of the three noises."""
    if name == "gradient noise":
        data = (np.ones((1, 1), "f4"), np.ones((1, 1), "f4"))
        problem = Problem(predict=lambda p, x: x * MODEL(p), params=START, data=data)
        return problem, SGD(RATE, label_noise=LABEL_NOISE)
    orbital = 1.0 if name == "isotropic" else 0.0
    problem = Problem(predict=MODEL, params=START, loss=loss, symmetry=MODEL.symmetry)
    return problem, Langevin(TEMPERATURE, orbital=orbital, step_size=STEP)


def walk(name: str, replicas: int, key: int = 0) -> np.ndarray:
    """Positions (u, v) along the runs: (replicas, records, 2)."""
    problem, rule = setting(name)
    steps = STEPS[name]
    run = simulate(
        problem, rule, steps=steps, every=steps // 400, replicas=replicas, key=key,
        observe={"position": position}, progress=False,
    )  # fmt: skip
    return run.trace.position.values.astype(float)


def charge(positions: np.ndarray) -> np.ndarray:
    return positions[..., 0] ** 2 - positions[..., 1] ** 2


def decay_across(positions: np.ndarray) -> np.ndarray:
    """Q(t)/Q(0) = exp(-int 2T/(u^2 + v^2) dt), along each path."""
    interval = STEP * STEPS["across orbits"] / (positions.shape[1] - 1)
    rate = 2 * TEMPERATURE / np.sum(positions**2, axis=-1)
    steps = (rate[:, 1:] + rate[:, :-1]) / 2 * interval
    return np.exp(-np.concatenate([np.zeros((len(rate), 1)), np.cumsum(steps, axis=1)], axis=1))


def decay_gradient(positions: np.ndarray) -> np.ndarray:
    """Q(t)/Q(0) = prod (1 - eta^2 g^2): g^2 has the mean (w - 1)^2 + noise^2."""
    every = STEPS["gradient noise"] // (positions.shape[1] - 1)
    residual = np.mean((np.prod(positions, axis=-1) - 1) ** 2)
    rate = RATE**2 * (LABEL_NOISE**2 + residual)
    return np.exp(-rate * every * np.arange(positions.shape[1]))


def study(at: Setup) -> Story:
    """Orbits of u v: where three kinds of noise move a point along them."""
    replicas = 400 if at.quick else 2000
    paths = {name: walk(name, replicas) for name in STEPS}
    q = {name: charge(p) for name, p in paths.items()}
    start = float(q["isotropic"][0, 0])
    across = decay_across(paths["across orbits"])
    gradient = decay_gradient(paths["gradient noise"])
    groups = np.array_split(np.arange(replicas), max(at.seeds, 8))

    def means(values: np.ndarray) -> list[float]:
        return [float(values[rows].mean()) for rows in groups]

    iso = q["isotropic"]
    story = Story("Orbits of u v", (__doc__ or "").partition("\n\n")[2])
    story.claims = [
        equal("isotropic: mean charge stays", start, means(iso[:, -1]), 0.1),
        in_range("isotropic: spread of the charge over its mean", [iso[rows, -1].std() / start
                 for rows in groups], 0.1),
        equal("across orbits: charge over that of dQ = -2TQ/(u^2+v^2) dt", 1.0,
              means(q["across orbits"][:, -1] / (start * across[:, -1])), 0.02),
        in_range("across orbits: share of the charge that is left", means(
                 q["across orbits"][:, -1] / start), 0, 0.25),
        equal("gradient noise: mean log of the charge that is left", float(np.log(gradient[-1])),
              means(np.log(q["gradient noise"][:, -1] / start)), 0.05),
    ]  # fmt: skip
    story.findings = [
        f"Of the charge {start:.2f} at the start, noise across orbits leaves "
        f"{np.mean(q['across orbits'][:, -1]) / start:.1%}, gradient noise "
        f"{np.mean(q['gradient noise'][:, -1]) / start:.1%}; isotropic noise spreads it to "
        f"{np.mean(iso[:, -1]):.2f} +- {np.std(iso[:, -1]):.2f}.",
    ]
    story.figures = [
        (_draw(at, paths), "Level sets of u v (lines), the balanced slice (dashed) and the log "
         "volume of orbits (colour), with one path under each noise."),
        (_draw_charges(at, q, start, across, gradient), "The charge under each noise: mean and "
         "quartiles over the runs, predictions dashed."),
    ]  # fmt: skip
    return story


def _draw(at: Setup, paths: dict[str, np.ndarray]) -> str:
    side = np.linspace(0.05, 3.6, 121)
    u, v = np.meshgrid(side, side)
    volume = jax.vmap(lambda a, b: log_volume(MODEL.symmetry, {"u1": a[None], "u2": b[None]}))
    with jax.enable_x64(True):
        colour = np.asarray(volume(jnp.asarray(u.ravel()), jnp.asarray(v.ravel()))).reshape(u.shape)
    columns: dict[str, Any] = {}
    with style.axes(7.2, 2.7, columns=3) as (figure, grid):
        for axes, (name, path) in zip(grid, paths.items(), strict=True):
            image = axes.imshow(colour, origin="lower", extent=(0.05, 3.6, 0.05, 3.6),
                                cmap="cividis", alpha=0.55)  # fmt: skip
            axes.contour(u, v, u * v, levels=[0.25, 0.5, 1, 2, 4], colors=style.INK, linewidths=0.5)
            axes.plot([0, 3.6], [0, 3.6], color=style.INK, lw=0.9, ls="--")
            axes.plot(*path[0].T, color=COLORS[name], lw=0.7)
            axes.plot(*path[0, 0], "o", color=COLORS[name], ms=4)
            axes.set(title=name, xlim=(0.05, 3.6), ylim=(0.05, 3.6), xlabel="u", aspect="equal")
            axes.grid(False)
            columns |= {f"u, {name}": path[0, :, 0], f"v, {name}": path[0, :, 1]}
        grid[0].set_ylabel("v")
        figure.colorbar(image, ax=grid, label="log volume", shrink=0.8)
        return at.figure(figure, "orbits", columns)


def _draw_charges(
    at: Setup, q: dict[str, np.ndarray], start: float, across: np.ndarray, gradient: np.ndarray
) -> str:
    predicted = {
        "isotropic": np.full(across.shape[1], start),
        "across orbits": start * across.mean(axis=0),
        "gradient noise": start * gradient,
    }
    share = np.linspace(0, 1, across.shape[1])
    columns: dict[str, Any] = {"share of the run": share}
    with style.axes(6.0, 2.8) as (figure, axes):
        for name, values in q.items():
            low, high = np.quantile(values, (0.25, 0.75), axis=0)
            axes.fill_between(share, low, high, color=COLORS[name], alpha=0.2, lw=0)
            axes.plot(share, values.mean(axis=0), color=COLORS[name], label=name)
            axes.plot(share, predicted[name], color=style.INK, lw=0.8, ls="--")
            columns |= {f"measured, {name}": values.mean(axis=0)}
            columns |= {f"predicted, {name}": predicted[name]}
        axes.set(xlabel="share of the run", ylabel="charge u² - v²", ylim=(-2, 12))
        axes.legend()
        return at.figure(figure, "orbits-charges", columns)
