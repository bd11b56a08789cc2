"""Bonds move parameters without moving the predictor, and balance finds the least norm."""

import numpy as np
import pytest

import symbias as sb


def test_product_bond() -> None:
    rng = np.random.default_rng(0)
    params = {"P": rng.standard_normal((5, 3)), "Q": rng.standard_normal((3, 4))}
    product = params["P"] @ params["Q"]
    sym = sb.Symmetry([sb.Bond(sb.GeneralLinear(3), vectors=[("Q", 0)], covectors=[("P", 1)])])
    moved = sb.act(sym, sb.random_element(sym, seed=0), params)
    np.testing.assert_allclose(moved["P"] @ moved["Q"], product, rtol=1e-12)
    _, logdet = np.linalg.slogdet(sb.gram(sym, params))
    assert sb.log_volume(sym, params) == pytest.approx(logdet / 2, rel=1e-12)
    found = sb.balance(sym, moved)
    np.testing.assert_allclose(found.params["P"] @ found.params["Q"], product, rtol=1e-12)
    norm = sum(np.sum(a**2) for a in found.params.values()) / 2
    assert norm == pytest.approx(np.linalg.norm(product, "nuc"), rel=1e-12)


@pytest.mark.parametrize("depth", [3, 12])
def test_relu_chain_balances(depth: int) -> None:
    rng = np.random.default_rng(depth)
    width = 8
    params = {
        f"W{i}": rng.standard_normal((width, width)) * np.exp(2 * rng.standard_normal((width, 1)))
        for i in range(depth)
    }
    sym = sb.Symmetry(
        sb.Bond(sb.Rescaling(width), vectors=[(f"W{i}", 0)], covectors=[(f"W{i + 1}", 1)])
        for i in range(depth - 1)
    )
    found = sb.balance(sym, params)
    assert found.residual < 1e-11
    assert found.sweeps <= 30

    def predict(p: dict[str, np.ndarray]) -> np.ndarray:
        h = p["W0"] @ np.ones(width)
        for i in range(1, depth):
            h = p[f"W{i}"] @ np.maximum(h, 0)
        return h

    np.testing.assert_allclose(predict(found.params), predict(params), rtol=1e-12)
