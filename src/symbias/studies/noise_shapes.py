"""Label noise finds a sparse w = u v from any start, isotropic Gaussian noise does not.

Both at one learning rate on labels of a sparse truth, as in HaoChen, Wei, Lee, Ma, "Shape matters:
understanding the implicit bias of the noise covariance", COLT 2021.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from symbias.dynamics import SGD, Langevin, Problem, simulate
from symbias.parameterizations import Hadamard
from symbias.report.page import Section
from symbias.studies.claims import Claim, in_range, tables
from symbias.studies.finite_steps import Sparse
from symbias.studies.story import over_seeds

Row = dict[str, Any]
Params = dict[str, np.ndarray]
PROBLEMS = 10


class Hunt(NamedTuple):
    """Size of the search for a sparse w, and the runs that make it."""

    shape: tuple[int, int, int] = (40, 100, 4)  # samples, entries, of which not zero in the truth
    learning_rate: float = 0.01
    steps: int = 200_000
    cooling: int = 20_000


STARTS = ("small", "large", "random")  # u = .1 or u = 1 with v = 0, or factors of std 1
TEMPERATURES = {"isotropic": 1.0, "isotropic, a tenth": 0.1}
WHOLE, QUICK = Hunt(), Hunt((15, 30, 2), 0.02, 30_000, 4000)


def measure(quick: bool = False) -> list[Row]:
    """`ends_of` of all problems; quick, of a small one."""
    if quick:
        return ends_of(0, QUICK)
    return [row for rows in over_seeds(ends_of, PROBLEMS) for row in rows]


def ends_of(seed: int, hunt: Hunt = WHOLE) -> list[Row]:
    """Where runs with label noise of std 1 and batches of one end, with isotropic noise, or none.

    Isotropic noise is Langevin's, at the temperature at which a step has as much variance as label
    noise gives it at the balanced factors of the truth, and at a tenth of that. Noise is then
    switched off: full batches take `cooling` steps, at a quarter of the sharpest edge or less.

    Returns
    -------
    list of dict
        For every start, distances from the truth relative to its length: "label noise",
        "isotropic", "isotropic, a tenth", "none"; infinite where a run diverged.
    """
    made = Sparse.of(seed, hunt.shape)
    X, rate, p = made.X, hunt.learning_rate, Hadamard(hunt.shape[1])
    starts = [p.section(np.zeros(p.shape), c) for c in (0.01, 1.0)] + [p.init(seed + 1000)]
    first = {k: np.stack([np.asarray(s[k]) for s in starts]) for k in p.shapes}
    problem = Problem(lambda t, x: x @ p(t), starts[0], data=(X, made.y))
    power = rate * np.mean(_gradients(X, p.section(made.truth)) ** 2) / 2
    rules = {"label noise": SGD(rate, 1, label_noise=1.0)} | {
        name: Langevin(share * power, orbital=1.0, step_size=rate)
        for name, share in TEMPERATURES.items()
    }
    ends = {name: _run(problem, rule, first, hunt.steps) for name, rule in rules.items()}
    ends["none"] = first
    every = {k: np.concatenate([end[k] for end in ends.values()]) for k in first}
    lost = ~np.isfinite(every["u1"]).all(axis=1)
    every = {k: np.where(lost[:, None], 0.0, v) for k, v in every.items()}
    sharpest = np.linalg.norm(_gradients(X, every), 2, axis=(1, 2)).max() ** 2 / len(X)
    cooled = _run(problem, SGD(min(rate, 0.5 / sharpest)), every, hunt.cooling)
    off = np.linalg.norm(cooled["u1"] * cooled["u2"] - made.truth, axis=1)
    off[lost] = np.inf
    away = (off / np.linalg.norm(made.truth)).reshape(len(ends), len(STARTS))
    return [
        {"start": start, "seed": seed} | dict(zip(ends, map(float, away[:, k]), strict=True))
        for k, start in enumerate(STARTS)
    ]


def _run(problem: Problem, rule: Any, start: Params, steps: int) -> Params:
    run = simulate(
        problem,
        rule,
        steps=steps,
        every=steps,
        replicas=len(start["u1"]),
        start=start,
        progress=False,
    )
    lost = run.diverged[:, None] >= 0
    return {k: np.where(lost, np.inf, v) for k, v in run.final.items()}


def _gradients(X: np.ndarray, theta: Mapping[str, Any]) -> np.ndarray:
    """Of every prediction in the factors, those of replicas along the first axis."""
    u, v = (np.asarray(theta[k])[..., None, :] for k in ("u1", "u2"))
    return np.concatenate([X * v, X * u], axis=-1)


def claims(found: Sequence[Row]) -> list[Claim]:
    """Label noise comes to the truth from every start, isotropic noise from none."""
    made = []
    for start in STARTS:
        here = [r for r in found if r["start"] == start]
        said = f"{start} start: distance from the truth, label noise"
        made.append(in_range(said, [r["label noise"] for r in here], high=0.05))
        least = [min(r[name] for name in TEMPERATURES) for r in here]
        made.append(in_range(f"{start} start: the nearer of isotropic noise", least, low=0.1))
    return made


def section(found: Sequence[Row]) -> Section:
    """Distances from the truth by the shape of the noise, for a page."""
    kinds = ["label noise", *TEMPERATURES, "none"]
    body = []
    for start in STARTS:
        own = [r for r in found if r["start"] == start]
        body.append([start, *(f"{np.median([r[kind] for r in own]):.2g}" for kind in kinds)])
    return Section(
        "Label noise against isotropic noise",
        "w = u v, labels of a truth with few entries: after the noise is switched off, the "
        "distance from that truth, relative (HaoChen, Wei, Lee, Ma 2021).",
        answer="Label noise comes to the sparse truth from every start, isotropic noise from none.",
        tables=[("Medians.", [["start", *kinds], *body]),
                *tables([c.to_dict() for c in claims(found)])],
    )  # fmt: skip
