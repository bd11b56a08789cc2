"""Label noise at all orders in the learning rate: dense definitions, limits, refusals."""

from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from tests.backends import x64

Params = dict[str, np.ndarray]


class Case(NamedTuple):
    """Inputs and factors of a linear model; labels are what it predicts."""

    p: sb.Parameterization
    inputs: np.ndarray
    theta: Params

    def predict(self, theta: Any) -> Any:
        """All outputs, (n, outputs)."""
        axes = len(self.p.shape) if self.inputs.shape[1:] == self.p.shape else 1
        found = jnp.tensordot(self.inputs, self.p(theta), axes=axes)
        return found.reshape(len(self.inputs), -1)

    def loss(self, theta: Any, y: Any, rows: tuple[int, ...] | None = None) -> Any:
        off = (self.predict(theta) - y) ** 2
        off = off if rows is None else off[jnp.asarray(rows)]
        return jnp.sum(off) / (2 * len(off))


def case(p: sb.Parameterization, shape: tuple[int, ...], seed: int = 0) -> Case:
    rng = np.random.default_rng(seed)
    signs = {k: rng.choice([-1.0, 1.0], s) for k, s in p.shapes.items()}
    theta = {k: signs[k] * rng.uniform(0.5, 1.5, s) for k, s in p.shapes.items()}
    return Case(p, rng.normal(size=shape), theta)


CASES = {
    "hadamard": case(sb.Hadamard(3), (2, 3)),
    "three factors": case(sb.Hadamard(3, depth=3), (2, 3)),
    "a product of matrices, two outputs": case(sb.MatrixProduct(2, 2, rank=1), (2, 2)),
    "a free level": case(sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(2)), (2, 3)),
    "a link": case(sb.Linked(sb.Hadamard(3), sb.PowerLink(1.5)), (2, 3), 4),
}


def flat(theta: Params) -> np.ndarray:
    """Names in sorted order."""
    return np.concatenate([np.ravel(theta[k]) for k in sorted(theta)])


def named(c: Case, v: Any) -> dict[str, Any]:
    """The way back, of NumPy or JAX arrays."""
    names = sorted(c.theta)
    ends = np.cumsum([c.theta[k].size for k in names])
    return {
        k: v[end - c.theta[k].size : end].reshape(c.theta[k].shape)
        for k, end in zip(names, ends, strict=True)
    }


def curvature(c: Case) -> float:
    """The largest of the loss."""
    return float(np.linalg.norm(dense(c)[1][0], 2))


def dense(c: Case, batch: int | None = None) -> tuple[Any, list[np.ndarray]]:
    """Labels, and the Hessians of all equally likely batches."""
    count = len(c.inputs)
    draws: list[Any] = [None] if batch is None else list(product(range(count), repeat=batch))
    with x64():
        at = jnp.asarray(flat(c.theta))
        y = c.predict(c.theta)

        def hessian(rows: Any) -> Any:
            return jax.hessian(lambda v: c.loss(named(c, v), y, rows))(at)

        return y, [np.asarray(hessian(rows)) for rows in draws]


def third(c: Case, y: Any, covariance: np.ndarray) -> np.ndarray:
    """Third derivatives of the loss at a symmetric matrix: the gradient of tr(Hessian S)."""
    with x64():

        def total(v: Any) -> Any:
            return jnp.sum(jax.hessian(lambda v: c.loss(named(c, v), y))(v) * covariance)

        return np.asarray(jax.jit(jax.grad(total))(jnp.asarray(flat(c.theta))))


def across(whole: np.ndarray) -> np.ndarray:
    """The projection on the tangents of the manifold, from the Hessian there."""
    return np.eye(len(whole)) - np.linalg.pinv(whole, rcond=1e-10) @ whole


def recursion(
    hessians: list[np.ndarray], rate: float, momentum: float, noise: np.ndarray, steps: int = 4000
) -> np.ndarray:
    """Covariance of theta: from 0, v <- momentum v + H_b theta - noise, theta <- theta - rate v."""
    size = len(noise)
    one = np.eye(size)
    moves = [
        np.block([[one - rate * h, -rate * momentum * one], [h, momentum * one]]) for h in hessians
    ]
    kick = np.vstack([rate * one, -one])
    source, both = kick @ noise @ kick.T, np.zeros((2 * size, 2 * size))
    for _ in range(steps):
        both = sum(m @ both @ m.T for m in moves) / len(moves) + source
    return both[:size, :size]


SETTINGS = [(None, 0.0), (None, 0.9), (1, 0.0), (2, 0.0), (1, 0.5)]
MATRICES = "a product of matrices, two outputs"


def some(quick: set[Any], every: Iterable[Any]) -> list[Any]:
    """The others are slow ones."""
    return [v if v in quick else pytest.param(*v, marks=pytest.mark.slow) for v in every]


@pytest.mark.parametrize(
    ("name", "batch", "momentum"),
    some(
        {("hadamard", 1, 0.5)},
        [(name, *setting) for name in ("hadamard", MATRICES) for setting in SETTINGS]
        + [(name, 1, 0.5) for name in ("three factors", "a free level", "a link")],
    ),
)
def test_drift_and_covariance_by_their_definitions(
    name: str, batch: int | None, momentum: float
) -> None:
    """Third derivatives of the loss at the covariance that the recursion of steps comes to."""
    c = CASES[name]
    rate, sigma = 0.5 / curvature(c), 0.3
    if batch == 1:
        rate *= 0.5
    mechanism = sb.LabelNoise(sigma, rate, batch, momentum)
    found = mechanism.drift(c.p, c.theta, c.inputs)
    y, hessians = dense(c, batch)
    whole = sum(hessians) / len(hessians)
    covariance = recursion(hessians, rate, momentum, sigma**2 * whole / (batch or len(c.inputs)))
    scale = np.abs(covariance).max()
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-7 * scale)
    step = -rate / (1 - momentum) * across(whole) @ third(c, y, covariance) / 2
    assert np.linalg.norm(step) > 1e-6
    np.testing.assert_allclose(flat(found.theta), step, atol=1e-6 * np.abs(step).max())
    ahead, behind = (np.asarray(c.p(named(c, flat(c.theta) + t * step))) for t in (1e-3, -1e-3))
    np.testing.assert_allclose(found.w, (ahead - behind) / 2e-3, atol=1e-5 * np.abs(step).max())


@pytest.mark.parametrize(
    ("name", "momentum"),
    some({("hadamard", 0.9)}, [("hadamard", 0.9), ("three factors", 0.0), (MATRICES, 0.9)]),
)
def test_with_full_batches_the_drift_is_the_gradient_of_the_penalty(
    name: str, momentum: float
) -> None:
    c = CASES[name]
    mechanism = sb.LabelNoise(0.3, 1.2 / curvature(c), momentum=momentum)
    drift = mechanism.drift(c.p, c.theta, c.inputs).theta
    tangents = across(dense(c)[1][0])
    for seed in range(3):
        rng = np.random.default_rng(seed)
        way = named(c, tangents @ rng.normal(size=len(tangents)))

        def at(t: float, way: Params = way) -> float:
            moved = {k: v + t * way[k] for k, v in c.theta.items()}
            return mechanism.penalty_at(c.p, moved, c.inputs)

        slope = (at(1e-4) - at(-1e-4)) / 2e-4
        work = sum(np.sum(drift[k] * way[k]) for k in drift)
        assert work == pytest.approx(-mechanism.rate * slope, rel=1e-5)


def test_the_logarithm_and_its_edge() -> None:
    """One entry, one sample: h = x^2 (u^2 + v^2)."""
    p, theta, x = sb.Hadamard(1), {"u1": np.array([1.0]), "u2": np.array([2.0])}, np.array([[0.5]])
    h, eta, sigma, beta = 1.25, 1.4, 0.3, 0.5
    found = sb.LabelNoise(sigma, eta, momentum=beta).penalty_at(p, theta, x)
    told = -(sigma**2) * (1 + beta) / (2 * (1 - beta)) * np.log(1 - eta * h / (2 * (1 + beta)))
    assert found == pytest.approx(told, rel=1e-12)
    for beta in (0.0, 0.9):
        edge = 2 * (1 + beta) / h
        sb.LabelNoise(sigma, 0.999 * edge, momentum=beta).penalty_at(p, theta, x)
        over = sb.LabelNoise(sigma, 1.001 * edge, momentum=beta)
        for asked in (over.penalty_at, over.drift):
            with pytest.raises(sb.Refused, match=r"largest curvature 1.25 is not below"):
                asked(p, theta, x)
    with pytest.raises(sb.Refused, match="largest curvature"):
        sb.LabelNoise(1.0, 1.0).least_penalty(p, np.array([5.0]), x * 2)


@pytest.mark.parametrize(
    ("name", "batch", "momentum"),
    some(
        {("hadamard", None, 0.9)},
        product(("hadamard", MATRICES, "a free level"), (None, 1), (0.0, 0.9)),
    ),
)
def test_small_rates_give_the_first_order(name: str, batch: int | None, momentum: float) -> None:
    c = CASES[name]
    mechanism = sb.LabelNoise(0.3, 1e-6, batch, momentum)
    count = batch or len(c.inputs)
    scale = (mechanism.rate * mechanism.sigma) ** 2 / (4 * count)
    with x64():

        def size(v: Any) -> Any:
            return jnp.sum(jax.jacobian(lambda u: c.predict(named(c, u)))(v) ** 2) / len(c.inputs)

        trace, slope = jax.jit(jax.value_and_grad(size))(jnp.asarray(flat(c.theta)))
    told = -scale * across(dense(c)[1][0]) @ np.asarray(slope)
    found = flat(mechanism.drift(c.p, c.theta, c.inputs).theta)
    np.testing.assert_allclose(found / scale, told / scale, atol=1e-3)
    if batch is None:
        penalty = mechanism.penalty_at(c.p, c.theta, c.inputs)
        assert penalty == pytest.approx(scale / mechanism.rate * float(trace), rel=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "hadamard",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("three factors", "a free level", "a link")
        ),
    ],
)
def test_the_least_penalty_is_attained_and_nothing_on_the_orbit_is_below(name: str) -> None:
    c = CASES[name]
    w = np.asarray(c.p(c.theta))
    mechanism = sb.LabelNoise(0.3, 0.6 / curvature(c), momentum=0.5)
    least = mechanism.least_penalty(c.p, w, c.inputs)
    balanced = c.p.section(w)
    assert mechanism.penalty_at(c.p, balanced, c.inputs) == pytest.approx(least, rel=1e-9)
    for seed in range(5):
        moved = sb.act(c.p.symmetry, sb.random_element(c.p.symmetry, seed, 0.2), balanced)
        assert mechanism.penalty_at(c.p, moved, c.inputs) > least
    small = sb.LabelNoise(0.3, 1e-6)
    first = float(small.penalty(c.p, w, c.inputs))
    if c.p.free:  # whose own curvature is a constant of the first order
        first += small.penalty_at(c.p, {k: 0 * v for k, v in balanced.items()}, c.inputs)
    assert small.least_penalty(c.p, w, c.inputs) == pytest.approx(first, rel=1e-4)
    assert least > float(mechanism.penalty(c.p, w, c.inputs))


@pytest.mark.parametrize(("batch", "momentum"), [(1, 0.0), (2, 0.0), (1, 0.5)])
def test_refused_exactly_where_the_recursion_grows(batch: int, momentum: float) -> None:
    c = CASES["hadamard"]
    hessians = dense(c, batch)[1]
    rows = np.linalg.svd(sum(hessians))[2][:2]  # two samples: rank 2
    seen = [rows @ h @ rows.T for h in hessians]
    one = np.eye(2)

    def radius(rate: float) -> float:
        moves = [
            np.block([[one - rate * h, -rate * momentum * one], [h, momentum * one]]) for h in seen
        ]
        return float(np.abs(np.linalg.eigvals(sum(np.kron(m, m) for m in moves))).max() / len(seen))

    low, high = 0.0, 4 * (1 + momentum) / curvature(c)
    assert radius(high) > 1
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) < 1 else (low, middle)
    sb.LabelNoise(1.0, 0.99 * low, batch, momentum).drift(c.p, c.theta, c.inputs)
    for rate in (1.01 * low, 1.2 * low):
        mechanism = sb.LabelNoise(1.0, rate, batch, momentum)
        with pytest.raises(sb.Refused, match=r"grow in mean square|largest curvature"):
            mechanism.drift(c.p, c.theta, c.inputs)
    assert 1.01 * low < 2 * (1 + momentum) / curvature(c)  # batches are noise of their own


def test_with_batches_the_work_around_a_loop_is_not_zero() -> None:
    """Scales of two entries, which leave w as it is, around a circle; full batches do none."""
    rng = np.random.default_rng(1)
    p, X = sb.Hadamard(2), 1 + 0.4 * rng.normal(size=(2, 2))
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)

    def work(batch: int | None) -> np.ndarray:
        mechanism = sb.LabelNoise(1.0, 0.3, batch)
        parts = []
        for a in angles:
            scale = np.exp(0.4 * np.array([np.cos(a), np.sin(a)]))
            theta = {"u1": np.array([1.0, 0.8]) * scale, "u2": np.array([0.9, 1.0]) / scale}
            speed = 0.4 * np.array([-np.sin(a), np.cos(a)])
            step = mechanism.drift(p, theta, X).theta
            parts.append(step["u1"] @ (theta["u1"] * speed) - step["u2"] @ (theta["u2"] * speed))
        return np.array(parts)

    whole, ones = work(None), work(1)
    assert abs(whole.mean()) < 1e-9 * np.abs(whole).max()
    assert abs(ones.mean()) > 1e-4 * np.abs(ones).max()
    with pytest.raises(sb.Refused, match="no gradient"):
        sb.LabelNoise(1.0, 0.3, 2).penalty_at(p, {"u1": np.ones(2), "u2": np.ones(2)}, X)


def test_what_is_refused_and_what_fits_no_shape() -> None:
    p, X = sb.MatrixProduct(2, 2), np.eye(2)
    mechanism, theta = sb.LabelNoise(1.0, 0.1), p.init(0)
    with pytest.raises(sb.Refused, match="products of numbers"):
        mechanism.least_penalty(p, np.eye(2), X)
    with pytest.raises(sb.Refused, match="no gradient"):
        sb.LabelNoise(1.0, 0.1, 2).least_penalty(sb.Hadamard(2), np.ones(2), X)
    with pytest.raises(ValueError, match="inputs have shape"):
        mechanism.drift(p, theta, np.eye(3))
    with pytest.raises(ValueError, match="expected the factors"):
        mechanism.drift(p, {"p1": theta["p1"]}, X)
    with pytest.raises(ValueError, match="not finite"):
        mechanism.penalty_at(p, {k: np.nan * v for k, v in theta.items()}, X)


def test_factors_of_zero_do_not_move() -> None:
    p = sb.Hadamard(2)
    for batch in (None, 1):
        found = sb.LabelNoise(1.0, 0.1, batch).drift(
            p, {k: np.zeros(2) for k in p.shapes}, np.eye(2)
        )
        assert not np.any(found.w)
        assert not np.any(found.covariance)
