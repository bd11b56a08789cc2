"""Gradient flow by design: its potential is the penalty, and it ends where the penalty is least."""

import numpy as np
import pytest
from scipy.optimize import minimize

import symbias as sb
from symbias.penalties import HyperbolicEntropy

# each with its own high: differences of a table look ahead
SMOOTH: dict[str, sb.Penalty] = {
    "ridge": sb.Ridge(),
    "3 ridge": 3 * sb.Ridge(),
    "hypentropy": sb.Hypentropy(0.3),
    "2 hypentropy": 2 * sb.Hypentropy(1.5),
    "w^2 + w^4": sb.Custom(lambda t: t**2 + t**4, high=100.0),
    "pseudo-Huber": sb.Custom(lambda t: t * t / (1 + np.sqrt(1 + t * t)), high=50.0),
    "cosh": sb.Custom(lambda t: 2 * np.sinh(t / 2) ** 2, high=15.0),
}
FLOW = sb.GradientFlow(0.1)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_potential_is_the_penalty(name: str) -> None:
    R = SMOOTH[name]
    potential = FLOW.induced(sb.design(R, FLOW, shape=1))
    for value in (-5.0, -1.5, -0.3, -1e-3, 1e-5, 0.01, 0.2, 1.0, 3.0, 9.0):
        w = np.array([value])
        assert float(potential(w)) == pytest.approx(float(R(w)), rel=1e-8)


def problem(n: int = 3, p: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, p))
    return x, x @ rng.standard_normal(p)


def least(R: sb.Penalty, x: np.ndarray, y: np.ndarray, start: np.ndarray) -> np.ndarray:
    """argmin R(w) with x @ w = y, by SLSQP: no flow, no potential, no link."""
    found = minimize(
        lambda w: float(R(w)), start, method="SLSQP", options={"ftol": 1e-15, "maxiter": 2000},
        constraints={"type": "eq", "fun": lambda w: x @ w - y, "jac": lambda w: x},
    )  # fmt: skip
    assert found.success
    return np.asarray(found.x)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n[0] in "23")) for n in SMOOTH]
)
def test_the_flow_ends_where_the_penalty_is_least(name: str) -> None:
    x, y = problem()
    R = SMOOTH[name]
    w = FLOW.interpolator(sb.design(R, FLOW, shape=6), x, y)
    best = least(R, x, y, np.linalg.pinv(x) @ y)
    assert np.abs(w - best).max() < 3e-6  # of SLSQP
    assert float(R(w)) <= float(R(best)) + 1e-9
    if "ridge" not in name:
        assert np.abs(w - np.linalg.pinv(x) @ y).max() > 1e-3


@pytest.mark.parametrize("monotone", [False, True])
def test_entropies_from_their_reference(monotone: bool) -> None:
    """Nonnegative coefficients, and a series that never falls."""
    rng = np.random.default_rng(1)
    reference = np.cumsum(rng.uniform(0.1, 0.5, 6))
    flow = sb.GradientFlow(1.0, start=reference)
    R = sb.Entropy(reference, monotone=monotone)
    p = sb.design(R, flow, shape=6)
    w = np.cumsum(rng.uniform(0.0, 1.0, 6))
    assert float(flow.induced(p)(w)) == pytest.approx(float(R(w)), rel=1e-9)
    x = rng.standard_normal((3, 6))
    found = flow.interpolator(p, x, x @ w)
    assert np.all((np.diff(found) if monotone else found) > 0)
    assert np.abs(found - least(R, x, x @ w, w)).max() < 1e-5


def test_small_starts_take_shallow_products_for_l1() -> None:
    """The least depth within 1% of l1; products of equal charges by their own integrals."""
    found = {a: sb.design("l1", sb.GradientFlow(a), shape=2).depth for a in (1e-6, 1e-3, 0.01, 0.1)}
    assert found == {1e-6: 3, 1e-3: 3, 0.01: 4, 0.1: 6}
    for a, depth in found.items():
        potential = sb.GradientFlow(a).induced(sb.Hadamard(2, depth))
        ratio = float(potential(np.ones(2)) / potential(np.full(2, 0.1)))
        assert potential.contrast == pytest.approx(ratio)
        assert abs(ratio / 10 - 1) < 0.01
        shallow = sb.GradientFlow(a).induced(sb.Hadamard(2, depth - 1))
        assert abs(shallow.contrast / 10 - 1) > 0.01
        assert f"a product of {depth} numbers: {ratio:.4g} times" in potential.formula


def test_the_contrast_of_depth_two_in_closed_form() -> None:
    c = 0.01**2

    def psi(w: float) -> float:
        return w * np.arcsinh(2 * w / c) / 2 - (np.hypot(c, 2 * w) - c) / 4

    potential = sb.GradientFlow(0.01).induced(sb.Hadamard(1))
    assert potential.contrast == pytest.approx(psi(1.0) / psi(0.1), rel=1e-10)
    assert potential.contrast == pytest.approx(13.156, abs=5e-4)


def test_l1_behind_a_map_has_products_of_that_depth() -> None:
    p = sb.design("tv", sb.GradientFlow(0.01), shape=7)
    assert p.inner.depth == 4
    assert p.shape == (7,)


@pytest.mark.parametrize(
    ("penalty", "why"),
    [(sb.ElasticNet(0.5), "has a corner at 0"), (2 * sb.L1(), "has a corner at 0"),
     (sb.Lq(1.5), "is infinite, and the flow never leaves w = 0"),
     (sb.Lq(3.0), "is zero, and the map is singular there"),
     (sb.Custom(lambda t: np.where(t < 1, t * t / 2, t - 0.5)), r"not strictly convex at \|w\| ="),
     (sb.LogSum(), "has a corner"), (sb.GroupLasso(2), "groups of more than one entry have none"),
     (sb.Nuclear(), "matrix products"),
     (sb.Entropy(0.1), "relative to its reference, where the flow has to start")],
)  # fmt: skip
def test_what_no_flow_has(penalty: sb.Penalty, why: str) -> None:
    with pytest.raises(sb.Refused, match=why):
        sb.design(penalty, FLOW, shape=(4, 4) if isinstance(penalty, sb.Nuclear) else 4)


def test_large_starts_are_not_near_l1() -> None:
    with pytest.raises(sb.Refused, match=r"from init_scale 1 no product is near l1.*start smaller"):
        sb.design("l1", sb.GradientFlow(1.0), shape=3)


def test_a_flow_from_zero_never_leaves_where_the_second_derivative_is_infinite() -> None:
    """The reason for the refusal of |w|^1.5: w = sgn(u) |u|^(4/3) has slope 0 at u = 0."""
    p = sb.Linked(sb.Plain(2), sb.PowerLink(4 / 3))
    x, y = np.array([[1.0, 2.0]]), np.ones(1)
    with pytest.raises(ValueError, match="the flow ends"):
        sb.GradientFlow(0.1).interpolator(p, x, y)


# ------------------------------------------------------------------------------ the penalties


def test_hypentropy_has_no_cancellation() -> None:
    R = HyperbolicEntropy(2.0)
    t = np.array([1e-12, 1e-8, 1e-4])
    assert R(t) == pytest.approx(t**2 / 4, rel=1e-8)
    far = np.array([1e8])
    assert R(far) == pytest.approx(far * (np.log(2 * far / 2) - 1) + 2, rel=1e-9)


def test_twice_the_potential_of_a_product_is_hypentropy() -> None:
    w = np.array([0.3, -2.0, 0.0])
    potential = sb.GradientFlow(0.8).induced(sb.Hadamard(3))
    assert 2 * float(potential(w)) == pytest.approx(float(sb.Hypentropy(0.32)(w)), rel=1e-12)


def test_hypentropy_in_fits() -> None:
    """A penalty as any other: the estimator's certificate holds, against a generic solver."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((30, 5))
    y = x @ np.array([1.0, -0.5, 0.0, 0.0, 2.0]) + 0.1 * rng.standard_normal(30)
    R = sb.Hypentropy(0.1)
    model = sb.DesignedRegressor(R, strength=0.2, fit_intercept=False).fit(x, y)

    def objective(w: np.ndarray) -> float:
        return float(np.mean((x @ w - y) ** 2) / 2 + 0.2 * float(R(w)))

    best = minimize(objective, np.zeros(5), tol=1e-14).x
    assert np.abs(model.coef_ - best).max() < 1e-5
    assert objective(model.coef_) <= objective(best) + 1e-10


def test_entropies_and_what_they_are_not() -> None:
    R = sb.Entropy([0.5, 1.0])
    assert float(R(np.array([0.5, 1.0]))) == 0
    assert float(R(np.array([0.0, 1.0]))) == pytest.approx(0.5)
    assert float(R(np.array([-0.1, 1.0]))) == np.inf
    for reference, monotone in ((0.0, False), ([1.0, -1.0], False), ([1.0, 1.0], True)):
        with pytest.raises(ValueError, match="the reference of an entropy must"):
            sb.Entropy(reference, monotone=monotone)
    with pytest.raises(ValueError, match="needs a reference: an array of increasing numbers"):
        sb.Entropy(1.0, monotone=True)
    with pytest.raises(sb.Refused, match="a preference under gradient flow only"):
        sb.design(R, sb.WeightDecay(1.0), shape=2)
