"""The tables of the evidence study: predictions of this library against its simulations."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.dynamics import SGD, Problem, simulate
from symbias.evidence import Evidence, compare, compare_point, energy_test, holm
from symbias.mechanisms import Langevin, Law, charge_drift, equilibrium, relaxation_time
from symbias.parameterizations import (
    Hadamard,
    MatrixProduct,
)
from symbias.studies.networks import Network
from symbias.studies.settings import Setting
from symbias.symmetry import Bond, Orthogonal, Symmetry, balance, charges

Row = dict[str, Any]
TOLERANCE = 0.05
IDENTITY = SGD(0.05, weight_decay=0.1)
TEMPERATURE, WELL = 0.2, 0.05**0.5  # the standard deviation of w, but for the tilt of a law


def identity_rows(networks: Sequence[Network], steps: int = 5) -> list[Row]:
    """Largest error of the one-step charge identity, relative to the squared norm of the bond."""
    rows = []
    for net in networks:
        problem = Problem(predict=net.predict, params=net.params, data=net.data)
        observe = {name: _one_array(name) for name in net.params}
        run = simulate(problem, IDENTITY, steps=steps, every=1, observe=observe, progress=False)
        path = [{k: run.trace[k][0, t].values for k in net.params} for t in range(steps + 1)]
        with jax.enable_x64(True):
            gradient = jax.jit(jax.grad(problem.objective))
            grads = [gradient(params, net.data) for params in path[:-1]]
        worst = dict.fromkeys((bond.name for bond in net.symmetry), 0.0)
        for params, after, grad in zip(path[:-1], path[1:], grads, strict=True):
            grad = {k: np.asarray(v) for k, v in grad.items()}
            drift = charge_drift(
                net.symmetry,
                params,
                grad,
                learning_rate=IDENTITY.learning_rate,
                weight_decay=IDENTITY.weight_decay,
            )
            old, new = charges(net.symmetry, params), charges(net.symmetry, after)
            for bond in net.symmetry:
                size = sum(float(np.sum(params[name] ** 2)) for name in bond.arrays)
                error = np.max(np.abs(new[bond.name] - old[bond.name] - drift[bond.name]))
                worst[bond.name] = max(worst[bond.name], float(error) / size)
        rows += [{"network": net.name, "bond": k, "error": e} for k, e in worst.items()]
    return rows


def equilibrium_rows(
    setting: Setting, *, relaxations: float, replicas: int = 4, progress: bool = False
) -> list[Row]:
    """Measured, predicted and balanced values of what a setting watches, at stationarity.

    The first six relaxation times are left out. The gradient moments are averaged over snapshots
    of the rest, replica by replica; the interval is that of the replicas' means.
    """
    problem, rule, watch = setting.problem, setting.rule, setting.watch
    names = list(setting.start)
    times = relaxation_time(problem, setting.start, rule)
    longest = max(float(np.max(t)) for t in times.values())
    steps = int((6 + relaxations) * longest)
    every = max(1, steps // 400)
    observe = {"seen": watch, **{name: _one_array(name) for name in names}}
    run = simulate(
        problem, rule, steps=steps, replicas=replicas, every=every, observe=observe,
        progress=progress,
    )  # fmt: skip
    tail = run.trace.sel(step=run.trace.step > 6 * longest)
    many = jax.jit(jax.vmap(watch))
    predicted, balanced = [], []
    for r in range(replicas):
        snapshots = {name: tail[name][r].values[::4] for name in names}
        settled = equilibrium(problem, snapshots, rule, batches=512)
        predicted.append(np.mean(many(_single(settled)), axis=0))
        if all(bond.covectors for bond in problem.symmetry):
            points = [
                balance(problem.symmetry, {k: v[i] for k, v in snapshots.items()}).params
                for i in range(0, len(snapshots[names[0]]), 10)
            ]
            balanced.append(np.mean([watch(_single(p)) for p in points], axis=0))
    rows = []
    for i, label in enumerate(setting.labels):
        values = tail.seen[..., i].mean("step").values
        prediction = float(np.mean(predicted, axis=0)[i])
        verdict = compare_point(prediction, values, tolerance=TOLERANCE)
        measured = float(np.mean(values))
        naive = float(np.mean(balanced, axis=0)[i]) if balanced else None
        rows.append(
            {
                "setting": setting.name,
                "observable": label,
                "start": float(watch(_single(setting.start))[i]),
                "measured": measured,
                "interval": verdict.interval,
                "predicted": prediction,
                "error": measured / prediction - 1,
                "verdict": verdict.verdict,
                "balanced": naive,
                "balanced_error": None if naive is None else measured / naive - 1,
                "steps": steps,
                "relaxation_time": longest,
            }
        )
    return rows


def _one_array(name: str) -> Any:
    return lambda params: params[name]


def _single(params: Any) -> dict[str, np.ndarray]:
    return {k: np.asarray(v, np.float32) for k, v in params.items()}


class Radius:
    """w = |x|^p for x in R^n: the power family, invariant under O(n); even where n = 1."""

    shape: tuple[int, ...] = ()

    def __init__(self, n: int, p: float) -> None:
        self.n, self.p = n, p
        bonds = [Bond(Orthogonal(n), vectors=[("x", 0)])] if n > 1 else []
        self.symmetry = Symmetry(bonds)

    def __call__(self, params: Any) -> Array:
        return jnp.sum(params["x"] ** 2) ** (self.p / 2)

    def section(self, w: Array) -> dict[str, Array]:
        return {"x": jnp.zeros(self.n, w.dtype).at[0].set(w ** (1 / self.p))}


def law_samples(
    p: Any,
    centre: Array,
    rho: float,
    *,
    replicas: int,
    curvature: float,
    relaxations: float,
    temperature: float = TEMPERATURE,
    width: float = WELL,
) -> tuple[Langevin, Any, np.ndarray]:
    """Simulate Langevin training of w = p(theta) in a quadratic well, until stationary.

    Replicas start at random points of the orbits over a cloud about the centre that is as wide as
    the law, so that only the tilt of the law is left to find; charges start at zero. `curvature`
    is the square of dw/d theta: steps are a fiftieth of the loss's inverse curvature along theta.
    """
    centre = np.asarray(centre, np.float32)  # what is simulated is in single precision
    stiffness = temperature / width**2
    rule = Langevin(temperature, rho, step_size=0.02 / (stiffness * curvature))

    def loss(w: Array) -> Array:
        return stiffness / 2 * jnp.sum((w - centre) ** 2)

    def begin(key: Array) -> dict[str, Array]:
        keys = jax.random.split(key)
        w = centre + width * jax.random.normal(keys[0], p.shape)
        params = p.section(jnp.abs(w) if p.shape == () else w)
        if "x" in params:
            turn = jax.random.normal(keys[1], (p.n,))
            params = {"x": turn / jnp.sqrt(jnp.sum(turn**2)) * params["x"][0]}
        return params

    rule.law(p, loss)  # refuses before anything is run
    problem = Problem(predict=p, params=begin, loss=loss, symmetry=p.symmetry)
    steps = int(50 * relaxations)
    run = simulate(problem, rule, steps=steps, replicas=replicas, key=17, progress=False)
    alive = run.diverged < 0
    w = jax.vmap(p)({k: v[alive] for k, v in run.final.items()})
    return rule, loss, np.asarray(w)


def misread(law: Law, p: Any) -> Law:
    """A density against another measure, taken for one against dw: the mistake to catch."""
    return Law(lambda w: law.log_density(p.section(w)), "predictor", p.shape)


def law_rows(
    grid: Sequence[tuple[int, int, float]], *, replicas: int, relaxations: float = 7
) -> list[Row]:
    """The power family: the right law, and the same process read against other measures."""
    rows: list[Row] = []
    right: list[Evidence] = []
    for n, power, rho in grid:
        p = Radius(n, power)
        rule, loss, w = law_samples(
            p, jnp.float32(1), rho, replicas=replicas, curvature=power**2, relaxations=relaxations
        )
        law = rule.law(p, loss)
        right.append(compare(law, w))
        wrong = {
            reference: _p_value(misread(rule.law(p, loss, reference), p), w)
            for reference in ("ambient", "quotient")
        }
        rows.append({"law": f"|x|^{power}, n = {n}, rho = {rho:g}", "wrong": wrong})
        rows[-1] |= {"samples": w, "cdf": law.cdf}
    for row, evidence in zip(rows, holm(right), strict=True):
        row.update(evidence.to_dict())
    return rows


def _p_value(law: Law, w: np.ndarray) -> float:
    """Zero for a density that cannot even be normalised against dw."""
    try:
        return compare(law, w).p_value
    except ValueError as error:
        if "cannot be normalised" not in str(error):
            raise
        return 0.0


def slice_rows(*, replicas: int, matrices: int, relaxations: float = 7) -> list[Row]:
    """Laws on the balanced slice, against dw; "flat" takes the slice's own volume for dw."""
    rows = []
    for name, p, centre, count in (
        ("u v", Hadamard(1), jnp.ones(1), replicas),
        ("P Q, 2 x 2", MatrixProduct(2, 2), jnp.diag(jnp.array([1.6, 1.0])), matrices),
    ):
        curvature = 2 * float(jnp.max(centre))
        rule, loss, w = law_samples(
            p, centre, 0.0, replicas=count, curvature=curvature, relaxations=3 * relaxations
        )
        law = rule.law(p, loss)
        evidence = compare(law, w)
        flat = _flat(loss, rule.temperature, p.shape)
        row = {"law": f"{name}, rho = 0", "wrong": {"flat": compare(flat, w).p_value}}
        rows.append(row | evidence.to_dict() | {"samples": w, "cdf": law.cdf})
    return rows


def _flat(loss: Any, temperature: float, shape: tuple[int, ...]) -> Law:
    return Law(lambda w: -loss(w) / temperature, "predictor", shape)


def calibration_rows(comparisons: int = 1000, draws: int = 100) -> list[Row]:
    """How often true laws are rejected at 5%: of one number, and of two."""
    one = Law(lambda w: -((w - 1) ** 2) + 0.5 * jnp.log(jnp.abs(w)), "predictor")
    p_one = [compare(one, one.sample(draws, key)).p_value for key in range(comparisons)]
    root = np.array([[1.0, 0.0], [0.8, 0.6]])
    inverse = np.linalg.inv(root)
    two = Law(lambda w: -jnp.sum((inverse @ w) ** 2) / 2, "predictor", (2,))
    rng = np.random.default_rng(0)
    p_two = [
        compare(two, rng.normal(size=(draws, 2)) @ root.T, key=key).p_value
        for key in range(comparisons)
    ]
    p_exact = [
        energy_test(
            rng.normal(size=(draws, 2)), rng.normal(size=(draws, 2)), permutations=199, rng=rng
        )[1]
        for _ in range(comparisons)
    ]
    tests = {"Kolmogorov-Smirnov": p_one, "energy, law.sample": p_two, "energy, exact": p_exact}
    return [
        {"test": name, "rejected_at_5_percent": float(np.mean(np.array(p) <= 0.05)), "p_values": p}
        for name, p in tests.items()
    ]
