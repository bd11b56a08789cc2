"""Weight decay's penalty is the least norm among all factors of w."""

import numpy as np
import pytest

import symbias as sb
from tests.backends import back, each, to, x64
from tests.parameterizations.cases import CASES


def decayed(p: sb.Parameterization, params: dict) -> float:
    return sum(float(np.sum(back(a) ** 2)) for n, a in params.items() if n not in p.free) / 2


@pytest.mark.parametrize(
    "name", [n for n, p in CASES.items() if p.symmetry.bonds and p.balanced_section]
)
def test_no_point_of_the_orbit_has_a_smaller_norm(name: str) -> None:
    p, rng = CASES[name], np.random.default_rng(5)
    w = rng.normal(size=p.shape)
    least = sb.WeightDecay(0.3).penalty(p, w)
    balanced = p.section(w)
    for seed in range(20):
        moved = sb.act(p.symmetry, sb.random_element(p.symmetry, seed, 0.3), balanced)
        np.testing.assert_allclose(p(moved), w, atol=1e-10)
        assert 0.3 * decayed(p, moved) >= least * (1 - 1e-12)
    # and balancing any other point of the orbit comes back to it
    found = sb.balance(p.symmetry, p.section(w, charge=0.7)).params
    assert 0.3 * decayed(p, found) == pytest.approx(float(least), rel=1e-8)


@each
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_hadamard_gives_lq(depth: int, backend: str) -> None:
    w = np.array([0.0, -2.0, 0.5, 1e-9])
    with x64():
        found = sb.WeightDecay(0.1).penalty(sb.Hadamard(4, depth=depth), to(backend, w))
        assert tuple(found.shape) == ()
        expected = 0.1 * depth / 2 * np.sum(np.abs(w) ** (2 / depth))
        np.testing.assert_allclose(back(found), expected, rtol=1e-13)


def test_group_product_gives_group_norms() -> None:
    w = np.array([3.0, 4.0, -2.0])
    p = sb.GroupProduct(3, groups=[0, 0, 1])
    assert sb.WeightDecay(2.0).penalty(p, w) == pytest.approx(2 * (5 + 2))


@pytest.mark.parametrize("strength", [0.0, -1.0, float("inf"), float("nan")])
def test_a_strength_that_is_not_positive_is_refused(strength: float) -> None:
    with pytest.raises(ValueError, match="strength must be positive"):
        sb.WeightDecay(strength)
