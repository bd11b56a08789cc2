"""Step sizes that a minimum allows, and what descent does at a rate above them.

Three experiments, in which runs know the loss and the factors alone: descent from beside the
flattest factors of w, at rates below and above the largest one; from a small start towards a w that
its rate does not allow (edge of stability); from factors that are too sharp for the rate (catapult;
Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari 2020, arXiv:2003.02218).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from symbias.dynamics import Run
from symbias.mechanisms import GradientFlow, reachable
from symbias.parameterizations import Hadamard, MatrixProduct, Parameterization
from symbias.report.page import Section
from symbias.studies.claims import Claim, in_range, tables
from symbias.studies.descent import descent
from symbias.studies.finite_steps import INIT_SCALE, Sparse

Row = dict[str, Any]
Theta = dict[str, np.ndarray]
PROBLEMS = 10
SETTLED = (("u v", Hadamard(5)), ("P Q", MatrixProduct(4, 3)))
SHARES = (0.97, 1.03)  # of the largest rate
TOWARDS = (20, 40, 3)  # samples, entries, of which not zero
RATES = (1.1, 1.3)  # over the largest rate of the flow's interpolator
LAUNCHES = (1.2, 1.9, 2.2)  # sharpness of the start, over the edge
WIDTH = 50
SAME, FITTED = 0.01, 1e-8  # distance to the same w, loss of a fit


def quietly(*of: Any, **options: Any) -> Run:
    """`descent`, silent where it diverges."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*diverged", category=RuntimeWarning)
        return descent(*of, **options)


def settle_row(name: str, p: Parameterization, white: bool, share: float, seed: int) -> Row:
    """Where descent goes from 1e-3 beside the flattest factors of a w that fits.

    Returns
    -------
    dict
        "away", the distance of its end from w, relative to the largest entry; inf if it diverged.
    """
    rng = np.random.default_rng(seed)
    size = int(np.prod(p.shape))
    w = rng.standard_normal(p.shape)
    w = np.sign(w) * (0.5 + np.abs(w))  # what is small settles slowly
    x = np.sqrt(size) * np.eye(size)
    if not white:
        mix = rng.standard_normal((size, size)) / 2 + np.diag(np.linspace(0.5, 2, size))
        x = rng.standard_normal((max(6, size), size)) @ mix
    x = x.reshape(-1, *p.shape)
    flattest = reachable(p, w, 1.0, x)
    near = {k: v + 1e-3 * rng.standard_normal(v.shape) for k, v in flattest.theta.items()}
    y = x.reshape(len(x), -1) @ w.ravel()
    rate = share * flattest.largest_rate()
    run = quietly(p, near, x, y, rate, steps=20_000, every=20_000)
    away = np.inf
    if run.diverged[0] < 0:
        end = np.asarray(p({k: a[0] for k, a in run.final.items()}))
        away = float(np.abs(end - w).max() / np.abs(w).max())
    return {"setting": name, "white": white, "share": share, "seed": seed, "away": away}


def edge_row(share: float, seed: int, steps: int = 20_000) -> Row:
    """u v from a small start, at a rate that the interpolator of the flow does not allow.

    Returns
    -------
    dict
        At the end "loss", and "sharpness" (over 2 / rate, of the Hessian at its factors); "l1",
        over that of the flow's interpolator; "path", sharpness along the run.
    """
    made, p = Sparse.of(seed, TOWARDS), Hadamard(TOWARDS[1])
    rate = share * reachable(p, made.limit, 1.0, made.X).largest_rate()
    start = GradientFlow(INIT_SCALE).init(p)
    run = quietly(p, start, made.X, made.y, rate, steps=steps, every=steps // 200)
    u, v = (run.trace[name].values[0] for name in sorted(p.shapes))
    with np.errstate(over="ignore", invalid="ignore"):
        sharpness = [_sharpness(made.X, a, b) * rate / 2 for a, b in zip(u, v, strict=True)]
    w = u[-1] * v[-1]
    return {
        "share": share,
        "seed": seed,
        "loss": float(np.sum((made.X @ w - made.y) ** 2) / (2 * len(made.X))),
        "sharpness": sharpness[-1],
        "l1": float(np.abs(w).sum() / np.abs(made.limit).sum()),
        "steps": np.asarray(run.trace.step).tolist(),
        "path": sharpness,
    }


def catapult_row(share: float, seed: int, steps: int = 2000) -> Row:
    """One output through a hidden layer of 50 units, from factors sharper than the rate allows.

    Returns
    -------
    dict
        "diverged"; else at the end "loss" and "sharpness" (over 2 / rate); "peak", the largest loss
        over that of the start; "losses", along the run.
    """
    rng = np.random.default_rng(seed)
    p = MatrixProduct(1, 1, rank=WIDTH)
    theta = {name: rng.standard_normal(shape) for name, shape in p.shapes.items()}
    x, y = np.ones((1, 1)), np.ones(1)
    rate = share * 2 / _size(theta)
    run = quietly(p, theta, x, y, rate, steps=steps, every=1)
    first, second = (run.trace[name].values[0] for name in p.shapes)
    with np.errstate(over="ignore"):  # where it diverges
        losses = (np.einsum("tik,tkj->t", first, second) - 1) ** 2 / 2
    end = {name: a[0] for name, a in run.final.items()}
    return {
        "share": share,
        "seed": seed,
        "diverged": bool(run.diverged[0] >= 0),
        "loss": float(losses[-1]),
        "sharpness": _size(end) * rate / 2,
        "peak": float(np.nanmax(losses) / losses[0]),
        "losses": losses[:200].tolist(),
    }


def _sharpness(X: np.ndarray, u: np.ndarray, v: np.ndarray) -> float:
    """Largest eigenvalue of J J^T / n, of the loss's Hessian where the residuals vanish."""
    return float(np.linalg.norm(np.hstack([X * v, X * u]), 2) ** 2 / len(X))


def _size(theta: Theta) -> float:
    with np.errstate(over="ignore"):
        return float(sum(np.sum(np.square(a)) for a in theta.values()))


def measure(quick: bool = False) -> dict[str, list[Row]]:
    """Rows of the three experiments; ``quick`` takes fewer problems of each."""
    seeds = 2 if quick else PROBLEMS
    cases = product(SETTLED[:1] if quick else SETTLED, (True, False), SHARES)
    kinds: dict[str, list[Callable[[int], Row]]] = {
        "settled": [
            partial(settle_row, name, p, white, share) for (name, p), white, share in cases
        ],
        "edge": [partial(edge_row, share) for share in RATES[: 1 if quick else 2]],
        "catapult": [partial(catapult_row, share) for share in LAUNCHES],
    }
    return {
        kind: [one(seed) for one in experiments for seed in range(seeds)]
        for kind, experiments in kinds.items()
    }


def claims(found: Mapping[str, Sequence[Row]]) -> list[Claim]:
    """What theory says of these rows, each with its verdict over problems."""
    made = []
    kinds = dict.fromkeys((r["setting"], r["white"]) for r in found["settled"])
    for name, white in kinds:
        for share in SHARES:
            away = [r["away"] for r in found["settled"]
                    if (r["setting"], r["white"], r["share"]) == (name, white, share)]  # fmt: skip
            text = f"{name}, {'white' if white else 'correlated'} inputs, {share:g} of the largest "
            low, high = (0.0, SAME) if share < 1 else (SAME, np.inf)
            made.append(in_range(f"{text}rate: end from w", away, low, high, theory=True))
    for share in dict.fromkeys(r["share"] for r in found["edge"]):
        rows = [r for r in found["edge"] if r["share"] == share and r["loss"] < FITTED]
        text = f"{share:g} of the largest rate, runs that fit: sharpness over the edge"
        made.append(in_range(text, [r["sharpness"] for r in rows], 0.95, 1.0))
    for share in LAUNCHES:
        rows = [r for r in found["catapult"] if r["share"] == share]
        text = f"start {share:g} times as sharp as the edge"
        if share < 2:
            ends = [np.inf if r["diverged"] else r["sharpness"] for r in rows]
            made.append(
                in_range(f"{text}: sharpness of the end over it", ends, 0.0, 1.0, theory=True)
            )
        else:
            lost = [float(r["diverged"]) for r in rows]
            made.append(in_range(f"{text}: diverged", lost, 1.0, theory=True))
    return made


def section(found: Mapping[str, Sequence[Row]]) -> Section:
    """Theorem, prediction and runs, for a page."""
    judged = [claim.to_dict() for claim in claims(found)]
    right = sum(row["held"] for row in judged)
    return Section(
        "Step sizes",
        "Descent settles at a w that fits only where the loss has curvature at most 2 / eta "
        "at some of its factors. Above that rate runs from a small start end on the edge, at "
        "another w; factors that are too sharp at the start are left by a catapult, up to twice "
        "the edge (Lewkowycz et al. 2020).",
        answer=f"{right} of {sum(row['runs'] for row in judged)} runs do as predicted.",
        figures=[("Left: sharpness over the edge from a small start. Right: the catapult.",
                  figure(found))],
        tables=tables(judged),
    )  # fmt: skip


def figure(found: Mapping[str, Sequence[Row]]) -> str:
    """Sharpness on the way to the edge, and losses of the catapult, as a data URI."""
    from symbias.report.style import FIT, INK, MARK, SOFT, axes, svg

    with axes(7.2, 2.8) as (drawn, ax):
        ax.remove()
        left, right = drawn.subplots(1, 2)
        for row in found["edge"]:
            if row["loss"] < FITTED:
                color = FIT if row["share"] == RATES[0] else MARK
                left.plot(np.array(row["steps"]) + 1, row["path"], color=color, lw=0.7)
        left.axhline(1, color=INK, ls="--", lw=0.8)
        left.set(xscale="log", xlabel="step", ylabel="sharpness times rate / 2")
        for share, color in zip(LAUNCHES, (FIT, MARK, SOFT), strict=True):
            own = next(r for r in found["catapult"] if r["share"] == share)
            losses = np.array(own["losses"])
            losses = np.maximum(losses[np.isfinite(losses)], 1e-12)
            right.plot(losses[:60], color=color, label=f"{share:g}")
        right.set(yscale="log", ylim=(1e-12, 1e6), xlabel="step", ylabel="loss")
        right.legend(title="start over the edge")
        return svg(drawn)
