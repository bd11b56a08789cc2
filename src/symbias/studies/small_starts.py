"""Order and times of what is learned from small starts, of every parameterization with a law.

Products, links, maps, lengths and groups; matrix products are in `symbias.studies.greedy_rank`.
"""

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from symbias.maps import CumulativeSum, ElasticLink, ExponentialLink, PowerLink
from symbias.mechanisms import GradientFlow, Incremental, incremental, incremental_groups
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import (
    GroupProduct,
    Hadamard,
    Linked,
    Parameterization,
    Radial,
    Synthesis,
)
from symbias.studies.incremental import measured

Row = dict[str, Any]
SIZE = 6
KINDS: dict[str, Parameterization] = {
    "u v": Hadamard(SIZE),
    "u1 u2 u3": Hadamard(SIZE, depth=3),
    "s v, groups of 3": GroupProduct(15, groups=np.arange(15) // 3),
    "h(u v), log-sum": Linked(Hadamard(SIZE), ExponentialLink(0.3)),
    "h(u v), elastic net": Linked(Hadamard(SIZE), ElasticLink(0.5, 0.5)),
    "cumsum(u v)": Synthesis(CumulativeSum(), Hadamard(SIZE - 1)),
    "|x|^2": Radial(SIZE, 3, PowerLink(2.0)),
}

# Three factors wait 1/sqrt(charge): at 1e-28 float64 has no time between a jump's start and end.
CHARGES = {
    name: (1e-4, 1e-8, 1e-14) if name == "u1 u2 u3" else (1e-8, 1e-14, 1e-28) for name in KINDS
}


def start(p: Parameterization, charge: float) -> dict[str, np.ndarray]:
    """Factors of this charge at w = 0, or of this w where there are no charges."""
    if p.signed:
        return GradientFlow(charge**0.5).init(p)
    return p.section(np.full(p.shape, charge))


def problem(p: Parameterization, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that are independent in the coordinates of w, inputs X with them, and labels."""
    rng, size = np.random.default_rng(seed), int(np.prod(p.shape))
    features, z = rng.standard_normal((5 * size, size)), 2 * rng.standard_normal(size)
    y = features @ (z if p.signed else np.abs(z)) + rng.standard_normal(len(features))
    return features, features @ np.linalg.inv(synthesis_matrix(p)), y


def law_of(p: Parameterization, seed: int, charge: float) -> Incremental:
    """The law of a problem."""
    features, X, y = problem(p, seed)
    theta = start(p, charge)
    if p.products(theta) is not None:
        return incremental(X.reshape(-1, *p.shape), y, p=p, start=theta)
    return incremental_groups(features, y, _labels(p), charge=charge)


def times_of(p: Parameterization, seed: int, charge: float, law: Incremental) -> np.ndarray:
    """The times of its events, along the flow of the factors."""
    features, _, y = problem(p, seed)
    found = p.products(start(p, charge))
    if found is not None:
        return measured(law, features, y, found)
    return measured_groups(law, features, y, _labels(p))


def _labels(p: Parameterization) -> np.ndarray:
    scales = p.normal_form().scales
    assert scales is not None
    return scales.labels


def group_weights(
    x: np.ndarray, y: np.ndarray, labels: np.ndarray, charge: float, times: np.ndarray
) -> np.ndarray:
    """w_g = s_g v_g at these times along the flow from s = sqrt(charge), v = 0: (p, times)."""
    count = int(labels.max()) + 1

    def field(_: float, state: np.ndarray) -> np.ndarray:
        s, v = state[:count], state[count:]
        g = x.T @ (y - x @ (s[labels] * v)) / len(x)
        return np.concatenate([np.bincount(labels, g * v, count), s[labels] * g])

    first = np.concatenate([np.full(count, np.sqrt(charge)), np.zeros(x.shape[1])])
    flow = solve_ivp(field, (0, times[-1]), first, method="LSODA", t_eval=times, rtol=1e-10,
                     atol=1e-9 * np.sqrt(charge))  # fmt: skip
    return np.asarray(flow.y[:count][labels] * flow.y[count:])


def measured_groups(
    law: Incremental, x: np.ndarray, y: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """When |w_g| of each group that switches on passes half of its next plateau."""
    edges = [np.linspace(0.9, 1.1, 2000) * event.time for event in law.events]
    grid = np.unique(np.concatenate([np.linspace(0, 1.3 * law.events[-1].time, 10_000), *edges]))
    w, times = group_weights(x, y, labels, law.charge, grid), []
    for event, plateau in zip(law.events, law.plateaus[1:], strict=True):
        own = labels == event.entry
        over = np.linalg.norm(w[own], axis=0) >= np.linalg.norm(plateau[own]) / 2
        times.append(grid[np.argmax(over)] if np.any(over) else np.nan)
    return np.array(times)


def separable(p: Parameterization, charge: float, count: int) -> dict[int, Incremental]:
    """The laws of the first problems on which all events are separable."""
    found: dict[int, Incremental] = {}
    for seed in range(1000):
        law = law_of(p, seed, charge)
        if all(event.separable for event in law.events):
            found[seed] = law
        if len(found) == count:
            break
    return found


def row(name: str, charge: float, count: int = 10) -> Row:
    """Errors of the times on the first problems whose events are all separable."""
    p, errors, ordered = KINDS[name], list[float](), 0
    for seed, law in separable(p, charge, count).items():
        times = times_of(p, seed, charge, law)
        told = np.array([event.time for event in law.events if event.on])
        ordered += bool(np.all(np.diff(times) > 0))
        errors += list(np.abs(told / times - 1))
    return {
        "kind": name,
        "charge": charge,
        "problems": count,
        "in_order": ordered,
        "events": len(errors),
        "median_error": float(np.median(errors)),
        "largest_error": float(np.max(errors)),
    }
