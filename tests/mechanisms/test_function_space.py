"""What ReLU networks of one input prefer among functions, against dense programs and networks."""

import cvxpy as cp
import numpy as np
import pytest
import scipy.optimize

import symbias as sb
from symbias.mechanisms.slope_program import least_cost

KINDS = [(skip, decayed) for skip in (True, False) for decayed in (False, True)]
every_kind = pytest.mark.parametrize(("skip", "decayed"), KINDS)


def data(seed: int = 0, n: int = 12, slope: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Uneven points in no order, the first two twice, and a bent truth with noise."""
    rng = np.random.default_rng(seed)
    x = rng.permutation(np.linspace(-2, 2, n) + rng.uniform(-1, 1, n) / n)
    x[:2] = x[-2:]
    return x, np.abs(x) - 1.5 * np.maximum(x - 1, 0) + slope * x + 0.1 * rng.normal(size=n)


def dense(x: np.ndarray, y: np.ndarray, strength: float, skip: bool, decayed: bool) -> float:
    """The least objective over neurons (+-(x - t))_+ with t on a grid and at data."""
    t = np.concatenate([np.linspace(-4, 4, 401), np.unique(x)])
    features = np.concatenate([np.maximum(s * (x[:, None] - t), 0) for s in (1, -1)], axis=1)
    costs = np.tile(np.sqrt(1 + t**2) if decayed else np.ones_like(t), 2)
    w, free = cp.Variable(len(costs)), cp.Variable(2)
    line = free[0] + (free[1] * x if skip else 0)
    away = cp.sum_squares(features @ w + line - y) / (2 * len(x))
    program = cp.Problem(cp.Minimize(away + strength * (costs @ cp.abs(w))))
    program.solve(solver="CLARABEL")
    return float(program.value)


@pytest.mark.parametrize("slope", [0.0, 2.0])
@every_kind
def test_it_is_the_least_over_neurons_at_a_grid_of_knots(
    skip: bool, decayed: bool, slope: float
) -> None:
    """Knots anywhere do not help where biases do not decay; a grid misses little where they do."""
    x, y = data(slope=slope)
    m = sb.FunctionSpace(0.02, skip, decayed)
    found, wanted = m.fit(x, y), dense(x, y, 0.02, skip, decayed)
    assert found.gap < 1e-8 * found.objective
    by_hand = np.mean((found(x) - y) ** 2) / 2 + 0.02 * m.norm(found.function)
    assert found.objective == pytest.approx(by_hand, rel=1e-9)
    assert found.objective < wanted + 1e-8
    assert found.objective == pytest.approx(wanted, rel=1e-4 if decayed else 1e-7)
    at_data = np.abs(found.knots[:, None] - x).min(axis=1, initial=np.inf) < 1e-9
    assert np.all(at_data) != decayed
    assert found.values == pytest.approx(found(found.x))


@every_kind
def test_the_norm_is_the_least_of_networks_by_descent_on_their_weights(
    skip: bool, decayed: bool
) -> None:
    """Best of two starts, strength down to 1e-4; values and slopes at both ends are asked for."""
    at, width = np.linspace(-1.5, 1.5, 31), 20
    f = sb.PiecewiseLinear(np.array([-0.5, 0.7]), np.array([1.0, -0.6]), left=1.2, value=0.3)
    y = f(at)

    def cost(flat: np.ndarray, strength: float) -> tuple[float, np.ndarray]:
        u, v, b = flat[: 3 * width].reshape(3, width)
        c, a = flat[3 * width :]
        active = np.maximum(hidden := at[:, None] * u + b, 0)
        r = active @ v + c + a * skip * at - y
        back = np.outer(r, v) * (hidden > 0)
        grads = np.stack([at @ back, active.T @ r, back.sum(axis=0)])
        value, skip_grad = r @ r / 2, r @ at
        for side, slope in ((u < 0, f.left), (u > 0, f.right)):
            off = np.sum((u * v)[side]) + a * skip - slope
            grads += off * np.stack([v * side, u * side, 0 * u])
            value, skip_grad = value + off**2 / 2, skip_grad + off
        kept = np.stack([u, v, b * decayed])
        value += strength / 2 * np.sum(kept**2)
        grads += strength * kept
        return value, np.concatenate([grads.ravel(), [r.sum(), skip_grad * skip]])

    def least(theta: np.ndarray) -> float:
        for strength in (1e-2, 1e-3, 1e-4):
            found = scipy.optimize.minimize(
                cost, theta, strength, jac=True, method="L-BFGS-B", options={"maxiter": 2000}
            )
            theta = found.x
        return float(found.fun / strength)

    starts = np.random.default_rng(0).normal(size=(2, 3 * width + 2))
    norm = sb.FunctionSpace(1.0, skip, decayed).norm(f)
    assert 0.97 < min(map(least, starts)) / norm < 1.01


@every_kind
def test_scales_and_mirrors(skip: bool, decayed: bool) -> None:
    x, y = data(slope=1.0)
    fit = sb.FunctionSpace(0.02, skip, decayed).fit(x, y)
    taller = sb.FunctionSpace(0.06, skip, decayed).fit(x, 3 * y + 5)
    assert taller.values == pytest.approx(3 * fit.values + 5, abs=1e-4)
    turned = sb.FunctionSpace(0.02, skip, decayed).fit(-x, y)
    assert turned.values == pytest.approx(fit.values[::-1], abs=1e-4)
    wider = sb.FunctionSpace(0.2, skip, decayed).fit(10 * x + 3, y)
    assert (np.abs(wider.values - fit.values).max() < 1e-4) == (not decayed)
    steeper = sb.FunctionSpace(0.02, skip, decayed).fit(x, y + x)
    assert (np.abs(steeper.values - fit.values - fit.x).max() < 1e-4) == skip


@every_kind
def test_limits_of_the_strength(skip: bool, decayed: bool) -> None:
    x, y = data()
    x, y = x[2:], y[2:]
    near = sb.FunctionSpace(1e-7, skip, decayed).fit(x, y)
    assert near.values == pytest.approx(y[np.argsort(x)], abs=1e-4)
    far = sb.FunctionSpace(1e3, skip, decayed).fit(x, y)
    line = np.polynomial.Polynomial.fit(x, y, 1 if skip else 0)
    assert far(x) == pytest.approx(line(x), abs=1e-6)
    assert not far.knots.size


def test_far_scales_keep_their_certificate() -> None:
    x, y = data()
    for skip, decayed in KINDS:
        found = sb.FunctionSpace(100.0, skip, decayed).fit(1950 + 20 * x, 1e4 * y + 1e5)
        assert found.gap < 1e-6 * found.objective


@pytest.mark.parametrize("slope", [0.0, 2.0, -2.0])
@pytest.mark.parametrize("skip", [True, False])
def test_the_band_holds_the_minimisers_and_no_more(skip: bool, slope: float) -> None:
    """A bend between two points costs nothing up to the band's edge, and something beyond it."""
    x = np.array([-2.0, -1.2, -0.3, 0.5, 1.1, 2.0])
    y = x**2 / 2 + slope * x
    m = sb.FunctionSpace(0.01, skip)
    found = m.fit(x, y)
    t = (x[1:] + x[:-1]) / 2
    low, high = found.band(t)
    assert np.count_nonzero(high - low > 1e-3) >= 3
    assert found.band(x) == (pytest.approx(found.values), pytest.approx(found.values))
    flat = m.norm(sb.PiecewiseLinear.through(x, found.values))
    bent = flat - (0.0 if skip else 2 * (flat - found.norm))  # V, where ends are bent too
    for k, at in enumerate(t):
        for level, free in ((low[k], True), (high[k], True), (low[k] - 1e-3, False)):
            nodes = np.insert(x, k + 1, at)
            f = sb.PiecewiseLinear.through(nodes, np.insert(found.values, k + 1, level))
            change = float(np.abs(f.changes).sum()) - bent
            if skip or 0 < k < len(t) - 1:
                assert (change < 1e-6) == free
    outside = np.array([x[0] - 1, x[-1] + 1])
    low, high = found.band(outside)
    if skip or slope == 0:
        assert low == pytest.approx(high, abs=1e-6)
        return
    chords = sb.PiecewiseLinear.through(x, found.values)(outside)
    for side, chord in enumerate(chords):
        ends = np.array([low[side], high[side]])
        assert np.abs(ends - chord).min() < 1e-9
        edge = ends[np.abs(ends - chord).argmax()]
        nodes, at = np.sort(np.append(x, outside[side])), (0, len(x))[side]
        for share, free in ((1.0, True), (1.2, False), (0.8, False)):
            values = np.insert(found.values, at, chord + share * (edge - chord))
            off = m.norm(sb.PiecewiseLinear.through(nodes, values)) - found.norm
            assert (off < 1e-6) == free


@every_kind
def test_the_least_norm_through_points_is_certified(skip: bool, decayed: bool) -> None:
    x, y = data(slope=2.0)
    x, y = np.sort(x[2:]), y[np.argsort(x[2:]) + 2]
    found = least_cost(x, y, np.full(len(x), 0.1), None, skip=skip, decayed=decayed)
    assert found.function(x) == pytest.approx(y, abs=1e-8)
    assert found.gap < 1e-8 * found.objective


def net(x: np.ndarray, width: int = 12, skip: bool = True) -> sb.Parameterization:
    shapes = dict.fromkeys("uvb", (width,)) | dict.fromkeys("ca" if skip else "c", ())
    return sb.Parameterization.of(lambda theta: sb.FunctionSpace.network(theta, x), shapes)


@every_kind
def test_what_is_induced_on_values_is_the_limit_of_weak_decay(skip: bool, decayed: bool) -> None:
    x, y = data(slope=4.0)
    x, y = x[2:], y[2:]
    m = sb.FunctionSpace(0.5, skip, decayed)
    induced = m.induced(net(x, skip=skip), inputs=x)
    weak = sb.FunctionSpace(1e-7, skip, decayed).fit(x, y).norm
    assert float(induced(y)) == pytest.approx(0.5 * weak, rel=1e-3)
    assert float(induced(3 * y)) == pytest.approx(3 * float(induced(y)), rel=1e-6)
    if skip and not decayed:
        order = np.argsort(x)
        trend = sb.TrendFilter(np.diff(x[order]))
        assert float(induced(y)) == pytest.approx(0.5 * float(trend(y[order])))


def test_an_orbit_is_not_a_function() -> None:
    """x = (x)_+ - (-x)_+ costs 2 on its orbit, and nothing with a skip."""
    theta = {"u": np.array([1.0, -1.0]), "v": np.array([1.0, -1.0]), "b": np.zeros(2),
             "c": np.zeros(())}  # fmt: skip
    scaled = sb.Symmetry([sb.Bond(sb.Rescaling(2), [("u", 0)], [("v", 0)])])
    assert sb.induced_norm(scaled, {k: theta[k] for k in "uv"}) == 2
    assert sb.FunctionSpace(1.0, skip=True).norm(theta) == 0
    assert sb.FunctionSpace(1.0, skip=False).norm(theta) == 2


def test_a_network_is_its_function() -> None:
    rng = np.random.default_rng(0)
    for skip in (True, False):
        theta = {k: rng.normal(size=6) for k in "uvb"} | {"c": rng.normal(size=())}
        theta |= {"a": rng.normal(size=())} if skip else {}
        theta["u"][:3] = 0.0, 1e-30, theta["u"][3]
        theta["b"][2] = theta["b"][3]  # two neurons with one knot
        f, x = sb.PiecewiseLinear.of_network(theta), rng.normal(size=50) * 3
        assert f(x) == pytest.approx(sb.FunctionSpace.network(theta, x), abs=1e-12)
        far = np.array([-1e3, 1e3])
        slopes = (sb.FunctionSpace.network(theta, far + 1) - f(far)).tolist()
        assert [f.left, f.right] == pytest.approx(slopes, abs=1e-9)
        cheapest = float(np.sum(np.abs(theta["u"] * theta["v"])))
        assert sb.FunctionSpace(1.0, skip).norm(theta) <= cheapest + 1e-12


def test_refusals() -> None:
    m, x = sb.FunctionSpace(0.1), np.linspace(-1, 1, 6)
    with pytest.raises(sb.Refused, match="is not the network of"):
        m.induced(sb.Hadamard(6), inputs=x)
    with pytest.raises(sb.Refused, match="is not the network of"):
        m.induced(net(x, skip=False), inputs=x)
    with pytest.raises(sb.Refused, match="is not the network of"):
        m.induced(net(x[::-1]), inputs=x)
    with pytest.raises(sb.Refused, match="take a width of 4 or more"):
        m.induced(net(x, width=3), inputs=x)
    with pytest.raises(ValueError, match="give inputs"):
        m.induced(net(x))
    with pytest.raises(ValueError, match="distinct points"):
        m.induced(net(np.zeros(6)), inputs=np.zeros(6))
    with pytest.raises(ValueError, match="strength must be positive"):
        sb.FunctionSpace(0.0)
    with pytest.raises(ValueError, match="two distinct points"):
        m.fit([1.0, 1.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="one shape"):
        m.fit([1.0, 2.0], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="finite"):
        m.fit([1.0, np.nan], [0.0, 1.0])
    with pytest.raises(ValueError, match="increase"):
        sb.PiecewiseLinear(np.array([1.0, 1.0]), np.ones(2))
    with pytest.raises(ValueError, match="one shape"):
        sb.PiecewiseLinear(np.array([1.0, 2.0]), np.ones(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"u": [np.nan, 1.0]}, "u of the network has values that are not finite"),
        ({"b": [np.inf, 1.0]}, "b of the network has values that are not finite"),
        ({"b": [0.0]}, r"of one shape \(width,\)"),
        ({"c": [1.0]}, r"of one shape \(width,\)"),
        ({"w": [1.0, 1.0]}, "a network has the arrays"),
    ],
)
def test_networks_that_are_none(change: dict[str, list[float]], message: str) -> None:
    """A unit that is not finite was left out, and the rest taken for the function."""
    theta = {"u": [1.0, 2.0], "v": [1.0, 1.0], "b": [0.0, 1.0], "c": 0.0} | change
    with pytest.raises(ValueError, match=message):
        sb.FunctionSpace(0.1).norm(theta)
    with pytest.raises(ValueError, match="a network has the arrays"):
        sb.PiecewiseLinear.of_network({"u": [1.0]})
    with pytest.raises(TypeError, match="expected a dict of arrays by name"):
        sb.FunctionSpace(0.1).norm("f")
