"""The parts of the series solvers against their dense definitions."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import sqrtm

from symbias.solvers import Huber, Logistic, Loss, Poisson, SquaredError
from symbias.solvers.series import Series
from symbias.solvers.series.cones import Cones, inside
from symbias.solvers.series.joint import Joint
from symbias.solvers.series.restricted import Restricted
from symbias.solvers.series.stretches import Stretches, sizes

CHANNELS, PAIRS = 3, 5


def in_cone(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    v, z = rng.normal(size=(2, CHANNELS, PAIRS))
    z *= rng.uniform(0.1, 0.99, size=PAIRS) / sizes(z)
    return sizes(v) + rng.exponential(size=PAIRS), v, z


def dense(cones: Cones) -> np.ndarray:
    """W, (PAIRS, 1 + channels, 1 + channels), the root of square (2 w w' - J)."""
    J = np.diag([1.0, *-np.ones(CHANNELS)])
    w = np.vstack([cones.lead, cones.rest]).T
    np.testing.assert_allclose(np.einsum("ki,ij,kj->k", w, J, w), 1)
    return np.stack(
        [sqrtm(s * (2 * np.outer(x, x) - J)) for s, x in zip(cones.square, w, strict=True)]
    )


def jordan(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x'y, x_0 y_1 + y_0 x_1) of the columns."""
    return np.vstack([np.sum(x * y, axis=0), x[0] * y[1:] + y[0] * x[1:]])


def test_the_scaling_of_nesterov_and_todd() -> None:
    rng = np.random.default_rng(0)
    t, v, z = in_cone(rng)
    cones = Cones.at(t, v, z)
    W = dense(cones)
    x, y = np.vstack([t, v]).T, np.vstack([np.ones(PAIRS), -z]).T
    middle = np.einsum("kij,kj->ki", W, y)
    np.testing.assert_allclose(middle, np.linalg.solve(W, x[..., None])[..., 0], rtol=1e-9)
    np.testing.assert_allclose(cones.middle.T, middle, rtol=1e-9)
    np.testing.assert_allclose(cones.norm, middle[:, 0] ** 2 - np.sum(middle[:, 1:] ** 2, axis=1))
    d = rng.normal(size=(1 + CHANNELS, PAIRS))
    np.testing.assert_allclose(cones.scaled(d[0], d[1:]), np.einsum("kij,jk->ik", W, d))
    np.testing.assert_allclose(np.vstack(cones.unscaled(d)), np.einsum("kij,jk->ik", W, d))
    inverse = np.linalg.inv((W @ W)[:, 1:, 1:])
    np.testing.assert_allclose(cones.stiffness, inverse, rtol=1e-9)
    np.testing.assert_allclose(cones.stiff(v), np.einsum("kij,jk->ik", inverse, v), rtol=1e-9)


def test_the_corrector_solves_its_jordan_product() -> None:
    rng = np.random.default_rng(1)
    cones = Cones.at(*in_cone(rng))
    dx, dy = rng.normal(size=(2, 1 + CHANNELS, PAIRS))
    d = cones.corrector(0.7, 0.3, dx, dy)
    unit = np.vstack([np.ones(PAIRS), np.zeros((CHANNELS, PAIRS))])
    np.testing.assert_allclose(jordan(cones.middle, d), 0.7 * unit - 0.3 * jordan(dx, dy))


@pytest.mark.parametrize("seed", range(6))
def test_the_longest_step_ends_on_the_boundary(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cones = Cones.at(*in_cone(rng))
    lam = cones.middle
    dx, dy = 0.4 * 2.0**seed * rng.normal(size=(2, 1 + CHANNELS, PAIRS))

    def fits(step: float) -> bool:
        return all(np.all((lam + step * d)[0] > sizes((lam + step * d)[1:])) for d in (dx, dy))

    low, high = 0.0, 1.0
    for _ in range(60):
        low, high = ((low + high) / 2, high) if fits((low + high) / 2) else (low, (low + high) / 2)
    for part in (1.0, 0.9):
        wanted = 1.0 if fits(1.0) and cones.longest(dx, dy, 1.0) == 1 else part * high
        assert cones.longest(dx, dy, part) == pytest.approx(min(1.0, wanted), rel=1e-9)


def test_what_is_inside() -> None:
    t, v, z = in_cone(np.random.default_rng(2))
    assert inside(t, v, z)
    assert not inside(np.where(np.arange(PAIRS) == 3, sizes(v), t), v, z)
    assert not inside(t, v, z / sizes(z))


def spaced(order: int, n: int = 40, seed: int = 0) -> Stretches:
    """Knots alone, next to one another, and at both ends."""
    times = np.cumsum(np.random.default_rng(seed).uniform(0.2, 3, size=n))
    return Stretches(order, times, np.array([0, 1, 5, 6, 7, 20, n - 1 - order]))


def differences(order: int, t: np.ndarray) -> np.ndarray:
    jumps = np.diff(np.eye(len(t)), axis=0)
    return jumps if order == 1 else np.diff(jumps / np.diff(t)[:, None], axis=0)


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("order", [1, 2])
def test_stretches_written_densely(order: int, channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(order)
    stretches = spaced(order)
    D = differences(order, stretches.times)
    nodes = stretches.starts if order == 1 else stretches.nodes
    c = rng.normal(size=(*channels, len(nodes)))
    w = stretches.signal(c)
    np.testing.assert_allclose(w[..., nodes], c)
    np.testing.assert_allclose(np.delete(w @ D.T, stretches.knots, axis=-1), 0, atol=1e-12)
    y, a = rng.normal(size=w.shape), rng.uniform(0.1, 2, size=w.shape)
    np.testing.assert_allclose(stretches.changes(y), (y @ D.T)[..., stretches.knots])
    gram, b = stretches.project(a, y)
    basis = np.stack([stretches.signal(e) for e in np.eye(len(nodes))])
    np.testing.assert_allclose(b, (a * y) @ basis.T)
    G = np.einsum("ip,...p,jp->...ij", basis, a, basis)
    problem = (Joint if channels else Restricted)(gram, b, stretches.stencil, 0.7)
    np.testing.assert_allclose(problem.gram_times(c), np.einsum("...ij,...j->...i", G, c))
    np.testing.assert_allclose(problem.differences(c), (w @ D.T)[..., stretches.knots], atol=1e-12)
    z = rng.normal(size=(*channels, len(stretches.knots)))
    adjoint = np.sum(problem.adjoint(z) * c)
    assert adjoint == pytest.approx(np.sum(z * problem.differences(c)))
    loss = np.sum(a * (w - y) ** 2) / 2 - np.sum(a * y**2) / 2
    cost = loss + 0.7 * np.sum(np.linalg.norm(np.atleast_2d(w @ D.T), axis=0))
    assert problem.cost(c) == pytest.approx(cost)
    # and what the band solves
    change = D[stretches.knots] @ basis.T
    if channels:
        root = rng.normal(size=(len(change), 3, 3))
        theta = root @ root.transpose(0, 2, 1)
        hessian = np.einsum("ki,kab,kj->aibj", change, theta, change)
        hessian += np.einsum("ab,aij->aibj", np.eye(3), G)
        x = problem.factor(theta)(c)
        np.testing.assert_allclose(np.einsum("aibj,bj->ai", hessian, x), c, atol=1e-9)
    else:
        theta = rng.uniform(0.1, 2, size=len(change))
        x = problem.factor(theta)(c)
        np.testing.assert_allclose((G + 0.7 * change.T * theta @ change) @ x, c, atol=1e-9)
        np.testing.assert_allclose(G @ problem.factor(None)(c), c, atol=1e-9)


@pytest.mark.parametrize("n", [40, 6000])
def test_the_worst_of_every_stretch(n: int) -> None:
    """Few by one look each, many at once: the first place of the largest between two knots."""
    rng = np.random.default_rng(n)
    knots = np.unique(rng.integers(0, n - 1, size=n // 3))
    stretches = Stretches(1, np.arange(n, dtype=float), knots)
    seen = np.round(rng.uniform(size=n - 1), 1)  # with ties
    wanted, edges = set(), [0, *[k for k in knots if 0 < k < n - 1], n - 1]
    for begin, end in pairwise(edges):
        for part in ([begin], range(begin + 1, end)) if begin else (range(begin, end),):
            best = max(part, key=lambda k: seen[k], default=None)
            if best is not None and seen[best] > 0.45:
                wanted.add(best)
    found = stretches.worst(seen, 0.45)
    assert (len(found) > 1000) == (n > 40)
    assert found.tolist() == sorted(wanted)


@pytest.mark.parametrize("order", [1, 2])
def test_interior_points_of_one_channel(order: int) -> None:
    """The optimality of the restricted problem in a dense basis, after few steps."""
    rng = np.random.default_rng(order)
    n = 400
    times = np.cumsum(rng.uniform(0.2, 3, size=n))
    y, a = np.sin(times / 60) + 0.3 * rng.normal(size=n), rng.uniform(0.1, 2, size=n) / n
    stretches = Stretches(order, times, np.arange(2, n - 5, 7))
    series = Series(y, order, times, a / a.sum())
    gram, b = stretches.project(series.a, y)
    steps = []
    counted = type(
        "Counted", (Restricted,), {"factor": lambda *s: steps.append(1) or Restricted.factor(*s)}
    )
    problem = counted(gram, b, stretches.stencil, 0.02 * series.strength_max)
    c, live = problem.solve()
    assert len(steps) <= 20
    basis = np.stack([stretches.signal(e) for e in np.eye(len(c))])
    D = differences(order, times)[stretches.knots] @ basis.T
    slope = basis @ (series.a * (c @ basis - y))
    z = -np.linalg.lstsq(D.T, slope)[0] / problem.strength
    jumps = D @ c
    assert np.abs(slope + problem.strength * D.T @ z).max() <= 1e-10 * np.abs(b).max()
    assert np.abs(z).max() <= 1 + 1e-7
    assert z @ jumps == pytest.approx(np.abs(jumps).sum(), rel=1e-8)
    assert 0 < live.sum() < len(live)
    np.testing.assert_allclose(z[live], np.sign(jumps[live]), atol=1e-6)


LOSSES: list[Loss] = [SquaredError(), Huber(0.5), Logistic(), Poisson()]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_fit_without_a_change(loss: Loss, order: int, channels: int) -> None:
    """Residuals under the weights see no level, and no slope; channels each with their own."""
    rng = np.random.default_rng(5)
    t = np.cumsum(rng.uniform(0.2, 3, size=30))
    y = rng.integers(0, 2, size=(channels, 30)).astype(float)
    a = rng.uniform(0.1, 2, size=y.shape) * np.arange(1, channels + 1)[:, None]
    a /= a.sum()
    series = Series(*((y[0], order, t, a[0]) if channels == 1 else (y, order, t, a)), loss)
    w = np.atleast_2d(series.null)
    np.testing.assert_allclose(differences(order, t) @ w.T, 0, atol=1e-9)
    pull = a * np.asarray(loss.gradient(w, y))
    np.testing.assert_allclose(pull.sum(axis=1), 0, atol=1e-10)
    if order == 2:
        np.testing.assert_allclose(pull @ t, 0, atol=1e-8)
    if isinstance(loss, SquaredError):
        fits = [np.polyfit(t, row, order - 1, w=np.sqrt(b)) for row, b in zip(y, a, strict=True)]
        np.testing.assert_allclose(w, [np.polyval(fit, t) for fit in fits], atol=1e-10)
    # the dual variable of any signal, by its definition
    away = np.atleast_2d(series.polish(series.null + rng.normal(size=series.y.shape)))
    u = np.atleast_2d(series.dual(away.reshape(series.y.shape)))
    pull = a * np.asarray(loss.gradient(away, y))
    np.testing.assert_allclose(u @ differences(order, t), -pull, atol=1e-9)
