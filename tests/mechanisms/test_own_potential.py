"""Potentials by flows of the dual variable, against closed forms and against gradient flow."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from symbias.mechanisms.dual_flow import DualFlow
from symbias.parameterizations import flat_map, flatten

of = sb.Parameterization.of
W = np.array([0.3, -2.0, 0.0])


def product(depth: int) -> sb.Parameterization:
    def fn(t: Any) -> Any:
        w = t["u1"]
        for k in range(2, depth + 1):
            w = w * t[f"u{k}"]
        return w

    return of(fn, {f"u{k}": 3 for k in range(1, depth + 1)})


def squares(size: int = 3) -> sb.Parameterization:
    return of(lambda t: t["u"] ** 2 - t["v"] ** 2, {"u": size, "v": size})


@pytest.mark.parametrize("a", [1.0, 0.03])
def test_a_difference_of_squares_is_the_hypentropy(a: float) -> None:
    """u = v = a: u = a e^(2 nu), v = a e^(-2 nu), w = 2 a^2 sinh 4 nu."""
    found = sb.Potential(squares(), {"u": np.full(3, a), "v": np.full(3, a)}).evaluate(W)
    c = 2 * a**2
    psi = (W * np.arcsinh(W / c) - np.sqrt(W**2 + c**2) + c) / 4
    assert abs(found.value - psi.sum()) <= max(found.error, 1e-12)
    np.testing.assert_allclose(found.dual, np.arcsinh(W / c) / 4, atol=1e-9)
    assert found.error < 1e-7


@pytest.mark.parametrize(("depth", "scale"), [(2, 0.05), (3, 0.1), (4, 1.0)])
def test_products_have_the_potential_of_hadamard(depth: int, scale: float) -> None:
    theta = sb.Hadamard(3, depth).section(np.array([0.1, 0.0, -0.2]), scale**2)
    found = sb.Potential(product(depth), theta).evaluate(W)
    known = sb.Potential(sb.Hadamard(3, depth), theta).evaluate(W)
    assert found.value == pytest.approx(known.value, rel=1e-8)
    assert abs(found.value - known.value) <= max(found.error, 1e-11)
    np.testing.assert_allclose(found.dual, known.dual, rtol=1e-7, atol=1e-9)
    assert (found.error > 0, known.error) == (True, 0.0)


def test_one_factor_behind_a_link() -> None:
    """w = h(u) from u = 0: psi'' = 1/h'^2, so psi(h(u)) = int (h(u) - h(x)) / h'(x) dx."""
    p = of(lambda t: t["u"] ** 3 + t["u"], {"u": 2})
    u = np.array([0.8, -1.3])
    found = sb.Potential(p, {"u": np.zeros(2)}).evaluate(u**3 + u)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    psi = 0.0
    for end in u:
        x = end * (nodes + 1) / 2
        psi += end / 2 * np.sum(weights * (end**3 + end - x**3 - x) / (3 * x**2 + 1))
    np.testing.assert_allclose(found.dual, np.arctan(np.sqrt(3) * u) / np.sqrt(3), rtol=1e-9)
    assert found.value == pytest.approx(psi, rel=1e-9)
    halved = sb.Potential(of(lambda t: t["u"] / 2**0.5, {"u": 1}), {"u": np.zeros(1)})
    assert float(halved(np.array([3.0]))) == pytest.approx(9.0, rel=1e-10)  # psi'' = 2: w^2


def test_descent_of_differences_of_squares_ends_at_the_projection() -> None:
    """Gradient descent in NumPy with gradients by hand, in steps and in half of them."""
    rng, p = np.random.default_rng(0), squares()
    inputs, y = rng.normal(size=(2, 3)), np.array([0.5, -0.3])
    theta0 = {"u": np.array([0.5, 0.3, 0.4]), "v": np.array([0.2, 0.3, -0.6])}

    def descend(rate: float) -> np.ndarray:
        u, v = theta0["u"], theta0["v"]
        for _ in range(int(60 / rate)):
            g = inputs.T @ (inputs @ (u**2 - v**2) - y)
            u, v = u - rate * 2 * u * g, v + rate * 2 * v * g
        assert np.abs(inputs @ (u**2 - v**2) - y).max() < 1e-9
        return u**2 - v**2

    coarse, fine = descend(2e-3), descend(1e-3)
    projected = sb.GradientFlow(1.0).bregman_projection(p, inputs, y, theta0)
    assert np.abs(coarse - fine).max() < 1e-3  # first order in the step, taken out here
    np.testing.assert_allclose(2 * fine - coarse, projected, atol=1e-6)


DICTIONARY = np.random.default_rng(5).normal(size=(4, 6))
OWN = {
    "squares": squares(),
    "depth 3": product(3),
    "link": of(lambda t: t["u"] ** 3 + t["u"], {"u": 3}),
    "dictionary": of(lambda t: DICTIONARY @ (t["u"] * t["v"]), {"u": 6, "v": 6}),
    "parts": sb.Parts(4, [([0, 2], sb.Hadamard(2)), ([3, 1], squares(2))]),
    "one output": sb.MatrixProduct(1, 1, rank=3),
}


@pytest.mark.parametrize("name", OWN)
def test_the_flow_ends_at_the_projection(name: str) -> None:
    p = OWN[name]
    rng = np.random.default_rng(3)
    size = int(np.prod(p.shape))
    inputs, y = rng.normal(size=(min(2, size), *p.shape)), 0.7 * rng.normal(size=min(2, size))
    flow, theta0 = sb.GradientFlow(1.0), p.init(1, 0.5)
    projected = flow.bregman_projection(p, inputs, y, theta0)
    np.testing.assert_allclose(flow.interpolator(p, inputs, y, theta0), projected, atol=1e-8)
    # nothing else that fits has a smaller potential, and the gradient is in the row space
    potential = sb.Potential(p, theta0)
    least = potential.evaluate(projected)
    rows = inputs.reshape(len(y), -1)
    null = np.linalg.svd(rows)[2][len(y) :]
    np.testing.assert_allclose(null @ least.dual.ravel(), 0, atol=1e-7)
    for step in (-0.05, 0.05):
        for direction in null:
            other = potential(projected + step * direction.reshape(p.shape))
            assert other > least.value + 1e-5


PATHS = {
    "P Q": (lambda t: t["P"] @ t["Q"], {"P": (2, 2), "Q": (2, 2)}),
    "shared scale": (lambda t: t["u"] * t["s"], {"u": 3, "s": 1}),
    "shared scale of products": (
        lambda t: t["u"] * t["v"] * t["s"], {"u": 3, "v": 3, "s": 1},
    ),
    "W^T W": (lambda t: t["W"].T @ t["W"], {"W": (2, 2)}),
    "g v / |v|": (lambda t: t["g"] * t["v"] / (t["v"] @ t["v"]) ** 0.5, {"g": 1, "v": 3}),
    "nearly": (lambda t: t["u"] * t["v"] + 1e-3 * (t["u"] @ t["u"]), {"u": 3, "v": 3}),
}  # fmt: skip


@pytest.mark.parametrize("name", PATHS)
def test_what_depends_on_the_path_is_refused_with_the_number(name: str) -> None:
    p = of(*PATHS[name])
    with pytest.raises(sb.Refused, match=r"has no potential.*b then a, w ends \S+ of its way"):
        sb.Potential(p, p.init(0))(p(p.init(1)))


def test_the_number_is_that_of_two_flows() -> None:
    """Shared scale s v: along a then b by hand. v' = s nu, s' = nu.v: hyperbolic rotations."""
    p = of(*PATHS["shared scale"])
    theta0 = {"u": np.array([0.5, -0.3, 0.2]), "s": np.array([0.7])}
    flow = DualFlow("", flat_map(p), flatten(p, theta0))
    a, b = np.array([0.4, 0.0, 0.3]), np.array([-0.2, 0.5, 0.0])

    def boost(u: np.ndarray, s: float, nu: np.ndarray) -> tuple[np.ndarray, float]:
        size = np.linalg.norm(nu)
        along = nu @ u / size
        turned = along * np.cosh(size) + s * np.sinh(size)
        return u + (turned - along) * nu / size, s * np.cosh(size) + along * np.sinh(size)

    for path in ([a, b], [b, a], [a + b]):
        u, s = theta0["u"], 0.7
        for nu in path:
            u, s = boost(u, s, nu)
        np.testing.assert_allclose(flow.map.w(flow._along(path, 1e-11)), s * u, rtol=1e-9)


@pytest.mark.slow
def test_legs_that_leave_the_range_are_shortened() -> None:
    """w = s log u^2: u reaches 0 along 4 a and 16 a, so that a and b are compared."""
    p = of(lambda t: t["s"] * jnp.log(t["u"] ** 2), {"u": 2, "s": 1})
    theta0 = {"u": np.array([0.1, 1.0]), "s": np.ones(1)}
    flow = DualFlow("", flat_map(p), flatten(p, theta0))
    a, b = np.array([-0.0007, 0.02]), np.array([-0.0005, -0.03])
    for times in (4, 16):
        with pytest.raises(sb.Refused, match="out of its range"):
            flow._along([times * a], 1e-11)
    apart = flow._apart(a, b, 0)
    assert apart > 1e-3
    assert flow._apart(16 * a, 16 * b) == pytest.approx(apart, rel=1e-6)
    with pytest.raises(sb.Refused, match="out of its range"):
        flow._apart(16 * a, 16 * b, 1)


def test_out_of_reach_is_refused() -> None:
    """Of w = u^2 there is no w < 0, and from u = 0 there is none at all."""
    p = of(lambda t: t["u"] ** 2, {"u": 2})
    potential = sb.Potential(p, {"u": np.array([0.5, 0.5])})
    assert float(potential(np.array([1.0, 0.25]))) == pytest.approx(
        (np.log(4) + 0.25 - 1) / 4  # psi' = log(w) / 4
    )
    with pytest.raises(sb.Refused, match="out of its range"):
        potential(np.array([-1.0, 0.25]))
    with pytest.raises(sb.Refused, match="never moves"):
        sb.Potential(p, {"u": np.zeros(2)})(np.ones(2))
    with pytest.raises(sb.Refused, match="cannot move w there"):
        sb.Potential(p, {"u": np.array([0.5, 0.0])})(np.ones(2))


@pytest.mark.slow
def test_the_mechanism_and_the_card_give_it() -> None:
    p = squares(2)
    induced = sb.GradientFlow(0.1).induced(p)
    assert isinstance(induced, sb.Potential)
    assert float(induced(p(induced.theta0))) == pytest.approx(0, abs=1e-12)
    row = next(r for r in sb.card(p).rows if r.mechanism == "gradient flow")
    assert (row.penalty, row.status) == ("numerical", sb.GradientFlow.status)
    assert float(row.value(W[:2])) > 0


MATRIX = sb.MatrixProduct(2, 2)


def pairs(theta: dict[str, np.ndarray]) -> np.ndarray:
    """|u|, |v| of every coordinate."""
    return np.abs(np.stack([theta["u"], theta["v"]]))


@pytest.mark.parametrize("scale", [0.001, 0.1, 1.0])
def test_an_initial_scale_is_a_charge_of_own_maps_too(scale: float) -> None:
    """u v: u = init_scale, v = 0 or the other way; u^2 - v^2, whose charge is u v: u = v."""
    flow, one = sb.GradientFlow(scale), np.ones((2, 1))
    theta = flow.init(of(lambda t: t["u"] * t["v"], {"u": 2, "v": 2}))
    np.testing.assert_allclose(np.sort(pairs(theta), axis=0), [[0, 0], [scale, scale]], atol=1e-15)
    theta = flow.init(squares(2))
    np.testing.assert_allclose(pairs(theta), scale * one * np.ones(2), rtol=1e-9)
    np.testing.assert_allclose(squares(2)(theta), 0, atol=1e-12 * scale**2)
    product = of(lambda t: t["P"] @ t["Q"], {"P": (2, 2), "Q": (2, 2)})
    theta = flow.init(product)
    known = flow.init(MATRIX)
    slopes = [flat_map(p).jacobian(flatten(p, t)) for p, t in ((product, theta), (MATRIX, known))]
    np.testing.assert_allclose(*(j @ j.T for j in slopes), atol=1e-9 * scale**2)


def test_the_flow_of_an_own_product_is_that_of_hadamard() -> None:
    own, known = of(lambda t: t["u"] * t["v"], {"u": 3, "v": 3}), sb.Hadamard(3)
    inputs, y = np.array([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]]), np.array([1.0, 0.3])
    for flow in (sb.GradientFlow(0.1), sb.GradientFlow(0.3, start=W / 4)):
        found, expected = (flow.bregman_projection(p, inputs, y) for p in (own, known))
        np.testing.assert_allclose(found, expected, atol=1e-8)
        assert float(flow.potential(own, W)) == pytest.approx(float(flow.potential(known, W)))


STILL = {"u^2": lambda t: t["u"] ** 2, "u^3": lambda t: t["u"] ** 3}
CHAIN = {
    "u v z": lambda t: t["u"] * t["v"] * t["z"],
    "u^2 v": lambda t: t["u"] ** 2 * t["v"] + 0 * t["z"],
}


@pytest.mark.parametrize(
    "name", ["u^2", *(pytest.param(n, marks=pytest.mark.slow) for n in ("u^3", *CHAIN))]
)
def test_a_scale_that_determines_no_start_is_refused(name: str) -> None:
    """At w = 0 these never move, from some of the factors that have the charges."""
    p = of({**STILL, **CHAIN}[name], {"u": 2} if name in STILL else dict.fromkeys("uvz", 2))
    for scale in (1e-4, 0.1, 1.0):
        for call in (sb.GradientFlow.init, sb.GradientFlow.induced):
            with pytest.raises(sb.Refused, match=r"never moves: dw/d theta vanishes\): give fac"):
                call(sb.GradientFlow(scale), p)
    (row,) = [r for r in sb.card(p).rows if r.mechanism == "gradient flow"]
    assert row.status == "refused"


def test_charges_that_fit_several_starts_are_refused() -> None:
    chain = of(CHAIN["u v z"], dict.fromkeys("uvz", 2))
    with pytest.raises(sb.Refused, match="move it in different ways"):
        sb.GradientFlow(0.5, start=np.ones(2)).init(chain)


@pytest.mark.slow
def test_factors_are_a_start_of_the_mechanism() -> None:
    """u^2 from u = a: w' = 4 w s, so psi' = log(w / a^2) / 4."""
    p, a = of(STILL["u^2"], {"u": 2}), np.array([0.1, 0.2])
    flow, w = sb.GradientFlow(start={"u": a}), np.array([1.0, 2.0])
    psi = w * np.log(w / a**2) / 4 - (w - a**2) / 4
    assert float(flow.potential(p, w)) == pytest.approx(psi.sum(), rel=1e-8)
    assert float(flow.induced(p)(w)) == pytest.approx(psi.sum(), rel=1e-8)
    row = next(r for r in sb.card(p, gradient_flow=flow).rows if r.mechanism == "gradient flow")
    assert (row.penalty, row.note) == ("numerical", "from the factors given, to zero loss")
    assert float(row.value(w)) == pytest.approx(psi.sum(), rel=1e-8)
    # with sqrt(w) = a e^(2 s), s = x nu: x w(nu) = y
    x = np.array([[1.0, 2.0]])
    found = flow.bregman_projection(p, x, np.array([1.0]))
    slope = np.log(found / a**2) / 4
    np.testing.assert_allclose([x[0] @ found, slope[0] * 2], [1.0, slope[1]], rtol=1e-8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: sb.GradientFlow(0.1, start={"u": np.ones(2)}), "leave init_scale out"),
        (lambda p: sb.GradientFlow(start={"v": np.ones(2)}).init(p), "missing or unknown"),
        (lambda p: sb.GradientFlow(start={"u": np.ones(3)}).init(p), r"shape \(3,\), expected"),
        (lambda p: sb.GradientFlow(start={"u": np.full(2, np.nan)}).init(p), "not finite"),
    ],
)
def test_starts_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(of(STILL["u^2"], {"u": 2}))
