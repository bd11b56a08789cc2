"""w = h(|x|): what is never negative, on data that such w fit."""

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from symbias.dynamics import SGD, Problem, simulate
from symbias.mechanisms import GradientFlow, WeightDecay
from symbias.mechanisms.finite_steps import start_of_steps
from symbias.parameterizations import Parameterization
from symbias.studies.verification import FLOW, GAP, Verification

START = 0.1  # length of every x at its start
RATE, TIME, ENDS = 0.02, 400.0, 1e-5  # of steps; largest distance that verifies


def check_decay_of_lengths(
    p: Parameterization, strength: float, *, key: int = 0, starts: int = 3
) -> Verification:
    """Loss and decay of trained vectors, over the least in w >= 0 (L-BFGS-B in both)."""
    rng = np.random.default_rng(key)
    size = int(np.prod(p.shape))
    X = rng.normal(size=(3 * size, size))
    truth = np.where(np.arange(size) < size // 2, 0.0, 1.0 + rng.random(size))
    y = X @ truth + 0.5 * rng.normal(size=len(X))
    penalty, n = WeightDecay(strength).induced(p), len(X)

    def in_w(w: np.ndarray) -> float:
        return float(np.sum((X @ w - y) ** 2) / (2 * n) + penalty(np.maximum(w, 0.0)))

    def in_x(flat: np.ndarray) -> float:
        w = np.asarray(p({"x": flat}))
        return float(np.sum((X @ w - y) ** 2) / (2 * n) + strength / 2 * np.sum(flat**2))

    bounds, options = [(0.0, None)] * size, {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    direct = minimize(in_w, np.ones(size), bounds=bounds, method="L-BFGS-B", options=options)
    (count,) = p.shapes["x"]
    trained = min(
        (minimize(in_x, rng.normal(size=count), method="L-BFGS-B", options=options)
         for _ in range(starts)),
        key=lambda found: float(found.fun),
    )  # fmt: skip
    gap = float(trained.fun / direct.fun - 1)
    return Verification(
        "weight decay",
        "relative objective gap to L-BFGS-B in w >= 0",
        gap,
        GAP,
        "verified" if abs(gap) <= GAP else "failed",
        f"objective {trained.fun:.8g}",
        (direct.x, np.asarray(p({"x": trained.x}))),
    )


def check_flow_of_lengths(p: Parameterization, *, key: int = 0) -> Verification:
    """The flow of the vectors (a stiff solver) against the projection that its potential says."""
    rng = np.random.default_rng(key)
    size = int(np.prod(p.shape))
    X = rng.normal(size=(size // 2, size))
    y = X @ np.where(np.arange(size) % 2, 0.2, 1.5)
    (count,) = p.shapes["x"]
    start = rng.normal(size=(size, count // size))
    start = (START * start / np.linalg.norm(start, axis=1, keepdims=True)).ravel()
    slopes = _slopes(p)

    def field(_: float, x: np.ndarray) -> Any:
        gradient = X.T @ (X @ np.asarray(p({"x": x})) - y) / len(X)
        return -slopes(x, gradient)

    flow = solve_ivp(field, (0, 1e5), start, method="LSODA", rtol=1e-11, atol=1e-13)
    w = np.asarray(p({"x": flow.y[:, -1]}))
    wanted = GradientFlow(start={"x": start}).bregman_projection(p, X, y)
    error = float(np.abs(w - wanted).max())
    return Verification(
        "gradient flow",
        "largest difference to the Bregman projection",
        error,
        FLOW,
        "verified" if error <= FLOW else "failed",
        f"from lengths of {START:g}; data of a w > 0",
        (wanted, w),
    )


def check_steps_of_lengths(p: Parameterization, *, key: int = 0) -> Verification:
    """Where SGD with batches of one ends, against the projection that its steps say."""
    rng = np.random.default_rng(key)
    size = int(np.prod(p.shape))
    X = rng.normal(size=(size // 3, size))
    y = X @ np.where(np.arange(size) % 2, 0.2, 1.5)
    start = {"x": 3 * START * rng.normal(size=p.shapes["x"])}
    flow, rule = GradientFlow(start=start), SGD(RATE, 1)
    run = simulate(
        Problem(lambda theta, x: x @ p(theta), start, data=(X, y)),
        rule,
        steps=int(TIME / RATE),
        every=1,
        observe={"x": lambda theta: theta["x"]},
        key=key,
        progress=False,
    )
    x = run.trace["x"].values[0].reshape(len(run.trace.step), size, -1)
    w = np.asarray(p({"x": x[-1].ravel()}))
    shrunk = np.sum(x[1:] * x[:-1], axis=2) / np.sum(x[:-1] ** 2, axis=2)
    unit = np.asarray(p({"x": np.eye(1, x[0].size)[0]})).max()  # w of a length of 1
    gradients = (1 - shrunk) / (2 * RATE * unit)  # x -> (1 - 2 eta g unit) x
    steps = start_of_steps(p, start, gradients, RATE)
    wanted = [flow.bregman_projection(p, X, y, theta0) for theta0 in (steps, start)]
    told, first = (float(np.linalg.norm(v - w) / np.linalg.norm(w)) for v in wanted)
    return Verification(
        "SGD noise",
        "distance to the projection that its steps say",
        told,
        ENDS,
        "verified" if told <= ENDS else "failed",
        f"{first:.2g} from the projection with the first lengths",
        (wanted[0], w),
    )


def _slopes(p: Parameterization) -> Any:
    """dL/dx from dL/dw, by central differences: each vector moves its own entry alone."""

    def pulled(x: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        step = 1e-6 * np.maximum(np.abs(x), 1e-3)
        per = len(x) // len(gradient)
        found = np.empty_like(x)
        for part in range(per):  # one component of every vector at once
            at = np.arange(part, len(x), per)
            up, down = x.copy(), x.copy()
            up[at] += step[at]
            down[at] -= step[at]
            rise = np.asarray(p({"x": up})) - np.asarray(p({"x": down}))
            found[at] = gradient * rise / (2 * step[at])
        return found

    return pulled
