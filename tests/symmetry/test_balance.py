"""The balanced gauge: least norm, no charge, same predictor, whatever is dead."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import symbias as sb
from tests.symmetry.backends import BACKENDS, backend, host
from tests.symmetry.cases import CASES, Params, hadamard_chain, normal, product

REFUSED = {"normalised_channels", "layer_norm_shift", "recurrent_linear", "frustrated_scales"}
BALANCED = [name for name in CASES if name not in REFUSED]


def half_norm(params: Params) -> float:
    return sum(float(np.sum(host(a) ** 2)) for a in params.values()) / 2


@pytest.mark.parametrize("name", BALANCED)
def test_no_charge_is_left_and_the_norm_is_least(name: str) -> None:
    sym, params = CASES[name]()
    found = sb.balance(sym, params)
    assert found.residual <= 1e-11
    assert half_norm(found.params) <= half_norm(params) * (1 + 1e-12)
    for scale in (1e-2, 0.5):
        moved = sb.act(sym, sb.random_element(sym, seed=2, scale=scale), found.params)
        assert half_norm(moved) >= half_norm(found.params) * (1 - 1e-12)
    # the same point of least norm from anywhere on the orbit
    elsewhere = sb.act(sym, sb.random_element(sym, seed=4, scale=0.5), params)
    again = sb.balance(sym, elsewhere)
    assert half_norm(again.params) == pytest.approx(half_norm(found.params), rel=1e-9)
    # and a fixed point of balance
    still = sb.balance(sym, found.params)
    for key, value in found.params.items():
        np.testing.assert_allclose(still.params[key], value, atol=1e-10)
    for bond, q in sb.charges(sym, found.params).items():
        assert np.max(np.abs(q), initial=0) <= 1e-9 * half_norm(params), bond


@pytest.mark.parametrize("name", BALANCED)
def test_induced_norm_is_half_the_balanced_norm(name: str) -> None:
    sym, params = CASES[name]()
    expected = half_norm(sb.balance(sym, params).params)
    assert float(sb.induced_norm(sym, params)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("library", BACKENDS)
@pytest.mark.parametrize("name", ["shared_heads", "relu_four", "deep_linear", "rotary_half"])
def test_backends(name: str, library: str) -> None:
    sym, params = CASES[name]()
    expected = sb.balance(sym, params)
    with backend(library) as make:
        found = sb.balance(sym, make(params))
        norm = float(sb.induced_norm(sym, make(params)))
        for key, value in expected.params.items():
            assert isinstance(found.params[key], type(make(params)[key]))
            np.testing.assert_allclose(host(found.params[key]), value, rtol=1e-10, atol=1e-10)
    assert norm == pytest.approx(half_norm(expected.params), rel=1e-10)


def chain_of_products(widths: list[int]) -> sb.Symmetry:
    return sb.Symmetry(
        sb.Bond(sb.GeneralLinear(w), [(f"W{i}", 0)], [(f"W{i + 1}", 1)])
        for i, w in enumerate(widths[1:-1])
    )


def multiply(params: Params) -> np.ndarray:
    result = params["W0"]
    for i in range(1, len(params)):
        result = params[f"W{i}"] @ result
    return result


@given(
    widths=st.lists(st.integers(1, 6), min_size=3, max_size=5),
    rank=st.integers(0, 3),
    spread=st.floats(0, 6),
    seed=st.integers(0, 1000),
)
def test_linear_chains_never_change_their_product(
    widths: list[int], rank: int, spread: float, seed: int
) -> None:
    """Any widths, ranks and conditions up to 1e6: no NaN, same product, Schatten norm reached."""
    rng = np.random.default_rng(seed)
    params = {
        f"W{i}": rng.standard_normal((m, n)) * 10.0 ** -np.linspace(0, spread, m)[:, None]
        for i, (n, m) in enumerate(pairwise(widths))
    }
    middle = params["W1"]
    u, s, vt = np.linalg.svd(middle, full_matrices=False)
    params["W1"] = (u[:, :rank] * s[:rank]) @ vt[:rank]
    found = sb.balance(chain_of_products(widths), params)
    scale = np.prod([np.linalg.norm(w) for w in params.values()]) + 1e-300
    assert np.max(np.abs(multiply(found.params) - multiply(params))) <= 1e-12 * scale
    assert half_norm(found.params) <= half_norm(params) * (1 + 1e-12)
    if spread < 1:
        depth = len(widths) - 1
        singular = np.linalg.svd(multiply(params), compute_uv=False)
        schatten = depth / 2 * np.sum(singular[singular > 1e-12] ** (2 / depth))
        assert half_norm(found.params) == pytest.approx(schatten, rel=1e-6, abs=1e-6)


def test_rectangular_chain_with_a_null_space() -> None:
    """5x3, 3x4, 4x6: the inner bond of size 4 carries rank 3, where the matrix root breaks down."""
    params = normal(W0=(6, 5), W1=(4, 6), W2=(3, 4), W3=(5, 3))
    found = sb.balance(chain_of_products([5, 6, 4, 3, 5]), params)
    assert found.residual < 1e-11
    assert found.dead == {"W0|W1": 3, "W1|W2": 1, "W2|W3": 0}
    np.testing.assert_allclose(multiply(found.params), multiply(params), atol=1e-12)


def test_hadamard_closed_form() -> None:
    """Depth L: half the balanced norm is L/2 sum |w|^(2/L); zero coordinates die altogether."""
    params = normal(u0=(5,), u1=(5,), u2=(5,))
    params["u1"][2] = 0
    found = sb.balance(hadamard_chain(3, 5), params)
    w = params["u0"] * params["u1"] * params["u2"]
    assert half_norm(found.params) == pytest.approx(1.5 * np.sum(np.abs(w) ** (2 / 3)), rel=1e-12)
    assert all(found.params[k][2] == 0 for k in params)
    assert found.dead == {"u0|u1": 1, "u1|u2": 1}


@pytest.mark.parametrize(("depth", "width"), [(3, 8), (12, 8), (48, 4), (6, 64)])
def test_relu_chain_takes_few_newton_steps(depth: int, width: int) -> None:
    rng = np.random.default_rng(depth)
    params = {
        f"W{i}": rng.standard_normal((width, width)) * np.exp(3 * rng.standard_normal((width, 1)))
        for i in range(depth)
    }
    sym = sb.Symmetry(
        sb.Bond(sb.Rescaling(width), [(f"W{i}", 0)], [(f"W{i + 1}", 1)]) for i in range(depth - 1)
    )
    found = sb.balance(sym, params)
    assert found.residual < 1e-11
    assert found.sweeps <= 30

    def predict(p: Params) -> np.ndarray:
        h = p["W0"] @ rng.standard_normal((width, 3))
        for i in range(1, depth):
            h = p[f"W{i}"] @ np.where(h > 0, h, 0.1 * h)
        return h

    state = rng.bit_generator.state
    before = predict(params)
    rng.bit_generator.state = state
    np.testing.assert_allclose(predict(found.params), before, rtol=1e-9)


def test_deadness_cascades_along_a_relu_chain() -> None:
    """W3 reads unit 0 of layer 3 only, which layer 2 never feeds: everything before it dies too."""
    params = normal(W0=(2, 3), W1=(2, 2), W2=(2, 2), W3=(1, 2))
    params["W2"][0] = 0
    params["W3"][:, 1] = 0
    sym = sb.Symmetry(
        sb.Bond(sb.Rescaling(2), [(f"W{i}", 0)], [(f"W{i + 1}", 1)], name=f"{i}") for i in range(3)
    )
    found = sb.balance(sym, params)
    assert found.dead == {"0": 2, "1": 2, "2": 2}
    assert half_norm(found.params) == 0


@pytest.mark.parametrize("zero", ["P", "Q", "both"])
def test_zero_arrays(zero: str) -> None:
    params = normal(P=(4, 3), Q=(3, 5))
    for name in params:
        if zero in (name, "both"):
            params[name] = np.zeros_like(params[name])
    found = sb.balance(product(3), params)
    assert half_norm(found.params) == 0
    assert found.residual == 0
    assert found.dead == {"Q|P": 3}


def test_extreme_scales() -> None:
    params = normal(P=(4, 3), Q=(3, 5))
    expected = params["P"] @ params["Q"]
    found = sb.balance(product(3), {"P": params["P"] * 1e60, "Q": params["Q"] * 1e-60})
    np.testing.assert_allclose(found.params["P"] @ found.params["Q"], expected, rtol=1e-12)
    u = {"u": np.array([1e100, 1.0]), "v": np.array([1e-100, 4.0])}
    sym = sb.Symmetry([sb.Bond(sb.Rescaling(2), [("u", 0)], [("v", 0)])])
    np.testing.assert_allclose(sb.balance(sym, u).params["u"], [1, 2], rtol=1e-12)


@pytest.mark.parametrize("name", ["product_tall", "product_wide_null", "shared_heads"])
def test_of_all_balanced_points_the_nearest_is_taken(name: str) -> None:
    """Against every rotation of the bond, near and far."""
    sym, params = CASES[name]()
    found = sb.balance(sym, params).params
    turns = sb.Symmetry(
        sb.Bond(sb.Orthogonal(b.group.size), b.vectors, b.covectors, heads=b.heads, name=b.name)
        for b in sym
        if isinstance(b.group, sb.GeneralLinear)
    )

    def distance(p: Params) -> float:
        return sum(float(np.sum((p[k] - params[k]) ** 2)) for k in turns.arrays)

    for seed in range(5):
        for scale in (1e-2, 1.0):
            turned = sb.act(turns, sb.random_element(turns, seed, scale), found)
            assert distance(turned) >= distance(found) - 1e-12


def test_refusals() -> None:
    for name, words in {
        "normalised_channels": "one side only",
        "layer_norm_shift": "one side only",
        "recurrent_linear": "acts twice",
    }.items():
        sym, params = CASES[name]()
        with pytest.raises(ValueError, match=words):
            sb.balance(sym, params)
        with pytest.raises(ValueError, match=words):
            sb.induced_norm(sym, params)


def test_translations_go_to_their_mean() -> None:
    bonds = [
        sb.Bond(sb.Translation(3), [("dead", 0)]),
        sb.Bond(sb.Translation(2), [("W", 1)]),
    ]
    params = normal(dead=(3,), W=(5, 2))
    found = sb.balance(sb.Symmetry(bonds), params)
    np.testing.assert_allclose(found.params["dead"], 0, atol=1e-15)
    centred = params["W"] - params["W"].mean(axis=0)
    np.testing.assert_allclose(found.params["W"], centred, atol=1e-14)


def test_half_precision_keeps_its_dtype() -> None:
    params = {k: v.astype(np.float16) for k, v in normal(P=(4, 3), Q=(3, 5)).items()}
    found = sb.balance(product(3), params).params
    assert found["P"].dtype == np.float16
    np.testing.assert_allclose(found["P"] @ found["Q"], params["P"] @ params["Q"], atol=1e-2)


GROUPS = [sb.GeneralLinear(4), sb.Rescaling(4), sb.UniformScale(), sb.ComplexScaling(4),
          sb.ComplexScaling(4, "half"), sb.Orthogonal(4)]  # fmt: skip


@pytest.mark.parametrize("size", [1.0, 1e100])
@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_imbalance_is_that_of_both_sides_along_the_generators(group: Any, size: float) -> None:
    rng = np.random.default_rng(0)
    r = group.size
    x, y = size * rng.standard_normal((2, r, 5)), 3 * size * rng.standard_normal((2, r, 6))
    for head, found in enumerate(group.imbalance(x, y)):
        m, n = (
            np.array([np.sum(a * (z @ z.T)) for a in group.matrix_basis()])
            for z in (x[head] / size, y[head] / size)
        )
        sides = np.linalg.norm(m + n)
        if group.compact:
            assert sides == pytest.approx(0, abs=1e-12)
            assert found == 0
        else:
            assert found == pytest.approx(np.linalg.norm(m - n) / sides)
            assert 0 < found < group.residual(x, y)[head] + 1e-12
    assert group.imbalance(x, 0 * y) == pytest.approx(0 if group.compact else 1)
    assert group.imbalance(0 * x, 0 * y) == pytest.approx(0)
