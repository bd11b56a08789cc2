"""Syntheses against their definitions as matrices."""

import numpy as np
import pytest

import symbias as sb

RNG = np.random.default_rng(1)


def test_cumulative_sum_of_order_1_is_level_and_increments() -> None:
    w = np.array([3.0, 5.0, 4.0, 4.0])
    np.testing.assert_allclose(sb.CumulativeSum().inverse(w), [3, 2, -1, 0])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_cumulative_sum_inverts_divided_differences(order: int) -> None:
    """Against the recursion of Tibshirani 2014: D_1 diag(k / (t_(i+k) - t_i)) D_k."""
    n = 9
    spacing = RNG.uniform(0.3, 2.0, n - 1)
    times = np.concatenate([[0.0], np.cumsum(spacing)])
    w = RNG.normal(size=(n, 2))
    expected = np.diff(w, axis=0)
    for k in range(1, order):
        expected = np.diff(expected * (k / (times[k:] - times[:-k]))[:, None], axis=0)
    z = sb.CumulativeSum(order, spacing=spacing).inverse(w)
    np.testing.assert_allclose(z[order:], expected, atol=1e-12)
    np.testing.assert_allclose(z[0], w[0])
    np.testing.assert_allclose(sb.CumulativeSum(order, spacing=spacing).forward(z), w, atol=1e-12)


def test_the_free_coordinates_of_a_trend_are_level_and_slope() -> None:
    spacing = np.array([1.0, 2.0, 0.5])
    line = sb.CumulativeSum(2, spacing=spacing).forward(np.array([5.0, 3.0, 0.0, 0.0]))
    np.testing.assert_allclose(line, 5 + 3 * np.array([0, 1, 3, 3.5]))


def test_cosines_are_orthonormal_and_have_their_period() -> None:
    A = sb.Cosine().forward(np.eye(12))
    np.testing.assert_allclose(A.T @ A, np.eye(12), atol=1e-14)
    i = np.arange(12)
    np.testing.assert_allclose(A[:, 3], np.sqrt(2 / 12) * np.cos(np.pi * 3 * (i + 0.5) / 12))


def test_zero_weights_come_first_and_are_free() -> None:
    d = sb.Diagonal([2.0, 0.0, 4.0])
    assert d.free == 1
    np.testing.assert_allclose(d.inverse(np.array([1.0, 7.0, 1.0])), [7, 2, 4])
    np.testing.assert_allclose(d.forward(np.array([7.0, 2.0, 4.0])), [1, 7, 1])


def test_wrong_spacing_is_named() -> None:
    with pytest.raises(ValueError, match="spacing has 3 entries, expected 4"):
        sb.CumulativeSum(2, spacing=[1.0, 1.0, 1.0]).inverse(np.zeros(5))
