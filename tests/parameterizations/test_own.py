"""Five parameterizations written as a function give what is derived by hand."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb

of = sb.Parameterization.of


class Own(NamedTuple):
    """A function, its shapes, the least 1/2 |theta|^2 by hand, and a formula where recognised."""

    fn: Callable[[Any], Any]
    shapes: dict[str, Any]
    norm: Callable[[np.ndarray], float]
    formula: str | None
    dim: int  # of the symmetry that is found
    gradients: Callable[[np.ndarray], float] | None  # by hand, for whitened inputs


CASES = {
    "u^2 - v^2": Own(
        lambda t: t["u"] ** 2 - t["v"] ** 2,
        {"u": 3, "v": 3},
        lambda w: np.abs(w).sum() / 2,
        "sum 0.5 |w_i|",
        3,  # boosts of the pairs (u_i, v_i)
        lambda w: 4 * np.abs(w).sum(),  # |dw/du|^2 + |dw/dv|^2 = 4 (u^2 + v^2), v = 0
    ),
    "u v s": Own(
        lambda t: t["u"] * t["v"] * t["s"],
        {"u": 3, "v": 3, "s": 1},
        # |u| = |v| = sqrt(|w| / s), then sum |w| / s + s^2 / 2 at s^3 = sum |w|
        lambda w: 1.5 * np.abs(w).sum() ** (2 / 3),
        None,
        4,
        # with a = sum |w_i|, b = |w|^2: 2 s a + b / s^2, least at s^3 = b / a
        lambda w: 3 * (np.abs(w).sum() ** 2 * (w @ w)) ** (1 / 3),
    ),
    "g v / |v|": Own(
        lambda t: t["g"] * t["v"] / (t["v"] @ t["v"]) ** 0.5,
        {"g": 1, "v": 3},
        lambda w: w @ w / 2,  # |v| -> 0 costs nothing: an infimum
        "sum 0.5 |w_i|^2",
        1,
        # 1 from g, and 2 g^2 / |v|^2 from v, which a long v takes away
        lambda w: 1.0,
    ),
    "u v w": Own(
        lambda t: t["a"] * t["b"] * t["c"],
        {"a": 3, "b": 3, "c": 3},
        lambda w: 1.5 * (np.abs(w) ** (2 / 3)).sum(),
        "sum 1.5 |w_i|^0.666667",
        6,
        lambda w: 3 * (np.abs(w) ** (4 / 3)).sum(),
    ),
    "W^T W": Own(
        lambda t: t["W"].T @ t["W"],
        {"W": (2, 2)},
        lambda w: np.trace(w) / 2,
        None,
        1,
        None,
    ),
}


def point(name: str, seed: int) -> np.ndarray:
    w = np.random.default_rng(seed).normal(size=(2, 2) if name == "W^T W" else 3)
    return w.T @ w if name == "W^T W" else w


LONG = ("u v w",)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in CASES]
)
def test_weight_decay_is_what_is_derived_by_hand(name: str) -> None:
    case = CASES[name]
    p = of(case.fn, case.shapes)
    for seed in range(3):
        w = point(name, seed)
        induced = sb.WeightDecay(0.3).induced(p)
        assert float(induced(w)) == pytest.approx(0.3 * case.norm(w), rel=1e-8)
        least = p.least_norm(w)
        assert abs(least.value - case.norm(w)) <= max(least.error, 1e-9)
        assert least.error < 1e-4
    assert induced.formula == f"lam {case.formula or '1/2 |balanced theta|^2'}"


@pytest.mark.parametrize("name", CASES)
def test_sections_and_symmetry(name: str) -> None:
    case, w = CASES[name], point(name, 5)
    p = of(case.fn, case.shapes)
    assert p.shape == w.shape
    for charge in (0.0, 0.5):
        theta = p.section(w, charge)
        np.testing.assert_allclose(p(theta), w, atol=1e-9)
    assert p.symmetry.dim == case.dim


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].gradients])
def test_label_noise_is_what_is_derived_by_hand(name: str) -> None:
    case, w = CASES[name], point(name, 7)
    noise = sb.LabelNoise(0.5, 0.02, batch_size=4)
    found = float(noise.induced(of(case.fn, case.shapes))(w))
    assert case.gradients is not None
    tolerance = 1e-3 if name == "g v / |v|" else 1e-6  # an infimum that is not attained
    assert found == pytest.approx(noise.scale * case.gradients(w), rel=tolerance)


def test_a_recognised_penalty_has_a_normal_form_and_others_refuse() -> None:
    case = CASES["u v w"]
    form = sb.WeightDecay(2.0).induced(of(case.fn, case.shapes)).form((3,))
    c = np.array([1.0, 0.0, -2.0])
    assert form.value(c) == pytest.approx(2 * case.norm(c))
    other = CASES["u v s"]
    with pytest.raises(sb.Refused, match="not known as a sum over sizes"):
        sb.WeightDecay(1.0).induced(of(other.fn, other.shapes)).form((3,))


def test_a_closed_form_that_fails_the_test_is_not_used() -> None:
    # homogeneous of degree 2, and close to, but not, half the l1 norm
    p = of(lambda t: t["u"] ** 2 - t["v"] ** 2 * np.array([1.0, 1.0, 1.01]), {"u": 3, "v": 3})
    assert sb.WeightDecay(1.0).induced(p).formula == "lam 1/2 |balanced theta|^2"


@pytest.mark.slow
def test_the_card_answers_for_every_mechanism() -> None:
    case = CASES["u v w"]
    p = of(case.fn, case.shapes)
    rows = {row.mechanism: row for row in sb.card(p).rows}
    assert rows["weight decay"].status == "exact"
    assert rows["label noise"].value is not None
    assert "give factors as start" in rows["gradient flow"].note  # of a chain: no start by charges
    flow = sb.GradientFlow(start={"a": 0.1 * np.ones(3), "b": np.ones(3) / 2, "c": np.zeros(3)})
    rows = {row.mechanism: row for row in sb.card(p, gradient_flow=flow).rows}
    assert isinstance(rows["gradient flow"].value, sb.Potential)
    assert rows["Langevin, against dw"].status in ("refused", "exact in the limit of small steps")


def in_place(t: Any) -> Any:
    u = t["u"]
    u *= 2
    return u


@pytest.mark.parametrize(
    ("fn", "shapes", "message"),
    [
        ("u * v", {"u": 2}, "expected a function"),
        (lambda t: t["u"], {}, "needs factors"),
        (lambda t: t["u"], [("u", (2,))], "shapes must be a dict from the name of a factor"),
        (lambda t: t["v"], {"u": 2}, "KeyError: 'v'"),
        (lambda t: t["u"] * (1.0, 2.0), {"u": 2}, "but not in JAX"),
        (lambda t: 1.0, {"u": 2}, "must return an array, got float"),
        (lambda t: t["u"] / 0.0 * np.inf, {"u": 2}, "not finite"),
        (lambda t: t["u"], {"u": -2}, "non-negative integers"),
        (lambda t: t["u"] + np.random.default_rng().normal(), {"u": 2}, "is random"),
        (lambda t: 0.0 * t["u"] + 1.0, {"u": 2}, "is constant"),
        (lambda t: t["u"] // 1.0, {"u": 2}, "is constant"),
        (lambda t: t["u"] / (t["u"] * 0.0), {"u": 2}, "not finite"),
        (lambda t: t["u"] > 0, {"u": 2}, "real floating-point numbers, got bool"),
        (lambda t: t["u"] + 1j, {"u": 2}, "real floating-point numbers, got complex128"),
        (lambda t: t["u"].astype(int), {"u": 2}, "real floating-point numbers, got int64"),
        (in_place, {"u": 2}, "changes the factors"),
        (lambda t: t.pop("u"), {"u": 2}, "changes the factors"),
        (lambda t: t.setdefault("v", t["u"]) * t["u"], {"u": 2}, "changes the factors"),
        (lambda t: (t["u"] * t["u"]).astype("float32"), {"u": 2}, "returns float32 for float64"),
        (lambda t: t["u"] * (1.0 + isinstance(t["u"], np.ndarray)), {"u": 2}, "in JAX than on"),
        (lambda t: abs(t["u"] - t["u"]) ** 0.5 + t["u"], {"u": 2}, "derivative .* not finite"),
        ([np.ones(2)], {"u": 2}, "expected a function"),
        (lambda t: [t["u"]], {"u": 2}, "must return an array, got list"),
    ],
)
def test_bad_input(fn: Any, shapes: Any, message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises((TypeError, ValueError), match=message) as caught:
        of(fn, shapes)
    assert "\n" not in str(caught.value)


def test_a_function_of_jax_numpy_keeps_the_precision_of_its_factors() -> None:
    """Whatever JAX is set to, as by default to single precision."""
    p = of(lambda t: jnp.sin(t["u"]) * jnp.exp(t["v"]), {"u": 3, "v": 3})
    rng = np.random.default_rng(0)
    theta = {k: rng.normal(size=3) for k in "uv"}
    w = p(theta)
    assert isinstance(w, np.ndarray)
    np.testing.assert_allclose(w, np.sin(theta["u"]) * np.exp(theta["v"]), rtol=1e-14)
    single = p({k: a.astype(np.float32) for k, a in theta.items()})
    assert single.dtype == np.float32


def test_a_w_out_of_range_is_refused() -> None:
    case = CASES["W^T W"]
    with pytest.raises(ValueError, match="range of the parameterization"):
        of(case.fn, case.shapes).section(np.array([[1.0, 0.0], [0.0, -1.0]]))
