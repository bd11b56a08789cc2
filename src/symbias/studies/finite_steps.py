"""Finite steps on w = u v: where runs end, and what was foretold of them.

Three predictions of a run: by its first charges, by those at its end, and by the law of a step
applied to the gradients that were recorded along it; and its charges, estimated before it. Runs
know the loss and the factors alone.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from symbias.dynamics import SGD, Problem, Run, simulate
from symbias.mechanisms import GradientFlow
from symbias.mechanisms.charts import Chart
from symbias.mechanisms.finite_steps import start_of_steps
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Hadamard, Parameterization
from symbias.report.page import Section
from symbias.studies.claims import Claim, in_range, tables
from symbias.studies.story import over_seeds
from symbias.studies.verification import Verification, regression

Row = dict[str, Any]
INIT_SCALE = 0.1
SHAPE = (30, 100, 4)  # samples, entries, of which not zero in the truth
PROBLEMS = 10
LONG, SHORT = 1200.0, 300.0  # in units of time t = k eta/(1 - beta): data fitted, charges settled
FOLLOWED = (("GD", None, 0.1), ("GD", None, 0.3), ("SGD", 1, 0.01), ("SGD", 1, 0.03))
HEAVY = (("GD", None), ("SGD", 1))
MOMENTUM, HEAVY_SHARE = 0.9, 0.003
REPLICAS, HEAVY_REPLICAS = 16, 32
SHARE, ENDS = 0.03, 1e-5  # of the edge, for batches of one; largest distance that verifies


class Sparse(NamedTuple):
    """A problem that many w solve, and one with few entries does."""

    X: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    edge: float  # largest stable rate of descent at the interpolator of the flow: 2 / curvature
    limit: np.ndarray  # that interpolator

    @classmethod
    def of(cls, seed: int, shape: tuple[int, int, int] = SHAPE) -> "Sparse":
        samples, size, few = shape
        rng = np.random.default_rng(seed)
        X, truth = rng.normal(size=(samples, size)), np.zeros(size)
        truth[:few] = rng.choice([-1, 1], few) * rng.uniform(0.5, 1.5, few)
        limit = GradientFlow(INIT_SCALE).bregman_projection(Hadamard(size), X, X @ truth)
        return cls(X, X @ truth, truth, edge(Hadamard(size), X, limit), limit)


def edge(p: Parameterization, X: np.ndarray, w: np.ndarray) -> float:
    """2 over the largest curvature of the loss, at a w that fits and the first charges."""
    charges = np.abs(GradientFlow(INIT_SCALE).induced(p).charges)
    free = synthesis_matrix(p).shape[1] - len(charges)
    products = np.asarray(p.flat_coordinates(w))[free:]
    squares = np.concatenate([np.ones(free), np.hypot(charges, 2 * products)])  # u^2 + v^2
    features = X @ synthesis_matrix(p) * np.sqrt(squares)
    return float(2 * len(X) / np.linalg.norm(features, 2) ** 2)


def trained(
    p: Parameterization,
    X: np.ndarray,
    y: np.ndarray,
    rule: SGD,
    time: float,
    *,
    replicas: int = 1,
    follow: bool = False,
    key: int = 0,
) -> Run:
    """A run from the start of `GradientFlow`, its factors at every step where it is followed."""
    problem = Problem(lambda theta, x: x @ p(theta), GradientFlow(INIT_SCALE).init(p), data=(X, y))
    steps = int(np.ceil(time * (1 - rule.momentum) / rule.learning_rate))
    observe = {name: lambda theta, name=name: theta[name] for name in p.shapes} if follow else {}
    every = 1 if follow else steps
    return simulate(
        problem,
        rule,
        steps=steps,
        every=every,
        replicas=replicas,
        key=key,
        observe=observe,
        progress=False,
    )


def recorded_gradients(p: Parameterization, run: Run, learning_rate: float) -> np.ndarray:
    """Of the batch of every step, from what it did to the factors: shape (steps, coordinates).

    The step of u is -eta v g and that of v is -eta u g: the larger factor tells g.
    """
    trace = {name: run.trace[name].values[0] for name in p.shapes}
    seen = [
        p.products({name: a[k] for name, a in trace.items()}) for k in range(len(run.trace.step))
    ]
    factors = np.stack([found.factors for found in seen if found is not None])
    plain = np.stack([found.plain for found in seen if found is not None])
    moved, now = -np.diff(factors, axis=0), factors[:-1]
    u_leads = np.abs(now[:, 0]) > np.abs(now[:, 1])
    product = np.where(u_leads, moved[:, 1], moved[:, 0]) / np.where(u_leads, now[:, 0], now[:, 1])
    return np.concatenate([-np.diff(plain, axis=0), product], axis=1) / learning_rate


def followed_row(
    p: Parameterization,
    X: np.ndarray,
    y: np.ndarray,
    rule: SGD,
    *,
    key: int = 0,
    time: float = LONG,
) -> Row:
    """One run without momentum, against four projections.

    Returns
    -------
    dict
        "w", and what it is "projected" to be by its steps; the distances of w, relative to |w|,
        to the projection from the first charges ("first"), from those of the end and the first
        start ("final"), from those and the start that the recorded gradients give ("steps"), and
        from the charges estimated before the run ("before"); "charges", the largest error of
        log c of the recorded gradients.
    """
    flow = GradientFlow(INIT_SCALE)
    before = flow.expected_after(p, X, y, rule)
    run = trained(p, X, y, rule, time, follow=True, key=key)
    w = np.asarray(p({name: a[0] for name, a in run.final.items()}))
    end = flow.after(p, run, X)
    gradients = recorded_gradients(p, run, rule.learning_rate)
    steps = start_of_steps(p, flow.init(p), gradients, rule.learning_rate)
    first = Chart.at(p, flow.init(p))
    unmoved = first.moved(np.zeros(len(first.duals)), np.log(np.abs(end.charges)))
    starts = {
        "first": flow.init(p),
        "final": unmoved.factors(p),
        "steps": steps,
        "before": before.theta0,
    }
    found = {name: flow.bregman_projection(p, X, y, theta0) for name, theta0 in starts.items()}
    away = {k: float(np.linalg.norm(v - w) / np.linalg.norm(w)) for k, v in found.items()}
    reached = np.log(np.abs(GradientFlow(start=steps).induced(p).charges / end.charges))
    return {"w": w, "projected": found["steps"], **away, "charges": float(np.abs(reached).max())}


def estimate_row(
    p: Parameterization,
    X: np.ndarray,
    y: np.ndarray,
    rule: SGD,
    *,
    replicas: int = REPLICAS,
    key: int = 0,
) -> Row:
    """log of final over first charges, as estimated before the runs and as measured.

    Returns
    -------
    dict
        "ratio", the sum over entries, estimated over measured (mean over replicas); "error", the
        norm of the difference over that of the measured ones, entry by entry.
    """
    flow = GradientFlow(INIT_SCALE)
    many = 1 if rule.batch_size is None else replicas
    run = trained(p, X, y, rule, SHORT, replicas=many, key=key)
    found = [p.products({k: a[i] for k, a in run.final.items()}) for i in range(len(run.diverged))]
    u, v = np.stack([f.factors for f in found if f is not None], axis=1)
    first = flow.induced(p).charges
    measured = np.log(np.abs((u - v) * (u + v) / first)).mean(axis=0)
    estimated = np.log(np.abs(flow.expected_after(p, X, y, rule).charges / first))
    return {
        "ratio": float(estimated.sum() / measured.sum()),
        "error": float(np.linalg.norm(estimated - measured) / np.linalg.norm(measured)),
    }


def rows(problems: int = PROBLEMS, shape: tuple[int, int, int] = SHAPE) -> list[Row]:
    """Every setting on problems of one shape, with its rate as a share of the edge."""
    each = over_seeds(partial(_of_problem, shape=shape, apart=problems), problems)
    return [row for found in each for row in found]


def _of_problem(seed: int, shape: tuple[int, int, int], apart: int) -> list[Row]:
    """All settings on one problem; keys of what is estimated lie so far apart."""
    made, p, found = Sparse.of(seed, shape), Hadamard(shape[1]), []
    for name, batch, share in FOLLOWED:
        rule = SGD(share * made.edge, batch)
        row: Row = {"setting": name, "share": share, "seed": seed, "momentum": 0.0}
        own = followed_row(p, made.X, made.y, rule, key=seed)
        row |= _sparseness(made, own.pop("w"))
        del own["projected"]
        found.append(row | own | estimate_row(p, made.X, made.y, rule, key=seed + apart))
    for name, batch in HEAVY:
        rule = SGD(HEAVY_SHARE * made.edge * (1 - MOMENTUM), batch, momentum=MOMENTUM)
        row = {"setting": name, "share": HEAVY_SHARE, "seed": seed, "momentum": MOMENTUM}
        measured = estimate_row(p, made.X, made.y, rule, replicas=HEAVY_REPLICAS, key=seed + apart)
        found.append(row | measured)
    return found


def check_sgd_noise(p: Parameterization, *, key: int = 0) -> Verification:
    """Where SGD with batches of one ends, against the projection that its steps say."""
    X, y = regression(p.shape, key, samples=max(2, p.shape[0] // 4))
    flow = GradientFlow(INIT_SCALE)
    Chart.at(p, flow.init(p))  # refuses before the run
    unit = edge(p, X, flow.bregman_projection(p, X, y))
    row = followed_row(p, X, y, SGD(SHARE * unit, 1), key=key, time=LONG * unit)
    return Verification(
        "SGD noise",
        "distance to the projection that its steps say",
        row["steps"],
        ENDS,
        "verified" if row["steps"] <= ENDS else "failed",
        f"{row['first']:.2g} from the projection with the first charges, {row['final']:.2g} from "
        "that with those of the end",
        (row["projected"].ravel(), row["w"].ravel()),
    )


def _sparseness(made: Sparse, w: np.ndarray) -> Row:
    """l1 norm and distance from the truth, over those of the flow's interpolator."""
    size, away = np.abs(w).sum(), np.linalg.norm(w - made.truth)
    least = np.abs(made.limit).sum(), np.linalg.norm(made.limit - made.truth)
    return {"l1": float(size / least[0]), "from_truth": float(away / least[1])}


def claims(found: Sequence[Row]) -> list[Claim]:
    """What theory says of these rows, each with its verdict over problems."""

    def of(name: str, column: str, share: float, momentum: float = 0.0) -> list[float]:
        same = (name, share, momentum)
        return [r[column] for r in found if (r["setting"], r["share"], r["momentum"]) == same]

    made = []
    for name, _, share in FOLLOWED:
        at = f"{name} at {share:g} of the edge"
        far = [
            b for a, b in zip(of(name, "first", share), of(name, "steps", share), strict=True)
            if a > 1e-3
        ]  # fmt: skip
        made.append(in_range(f"{at}: distance by its steps", far, high=ENDS, theory=True))
        foretold = of(name, "error", share)
        made.append(in_range(f"{at}: charges before the run", foretold, high=0.1, theory=True))
        low, high = (0.0, 1.0) if name == "SGD" else (1.0, np.inf)
        for column in ("l1", "from_truth"):
            said = f"{at}: {column} over that of the flow"
            made.append(in_range(said, of(name, column, share), low, high, theory=True))
    for name, _ in HEAVY:
        ratio = of(name, "ratio", HEAVY_SHARE, MOMENTUM)
        said = f"{name}, momentum {MOMENTUM}: drift of charges, estimated over measured"
        made.append(in_range(said, ratio, 0.98, 1.02, theory=True))
    return made


def measure(quick: bool = False) -> list[Row]:
    """`rows` of all problems; ``quick``: of one small problem."""
    return rows(1, (10, 30, 3)) if quick else rows()


def section(found: Sequence[Row]) -> Section:
    """Distances, estimates and sparseness with their verdicts, for a page."""
    header = ["batches", "share of the edge", *_COLUMNS.values()]
    body = []
    for name, _, share in FOLLOWED:
        own = [r for r in found if (r["setting"], r["share"], r["momentum"]) == (name, share, 0)]
        medians = [f"{np.median([r[k] for r in own]):.2g}" for k in _COLUMNS]
        body.append([name, f"{share:g}", *medians])
    judged = [claim.to_dict() for claim in claims(found)]
    closest = max(r["steps"] for r in found if "steps" in r)
    return Section(
        "Runs of finite steps on u v",
        "Distance of w at the end from four projections, relative to |w|; charges estimated before "
        "the run along the flow; l1 norm and distance from the truth over those of the flow.",
        answer=f"Final charges and moved start together name the end to {closest:.1g}.",
        tables=[("Medians over problems.", [header, *body]), *tables(judged)],
    )


_COLUMNS = {
    "first": "first charges",
    "final": "final charges",
    "steps": "final charges, moved start",
    "before": "estimated before",
    "error": "error of log charges",
    "l1": "l1 norm",
    "from_truth": "from the truth",
}
