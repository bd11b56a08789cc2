"""What the starts of a concave penalty are made of, beside dense linear algebra."""

import numpy as np
import pytest

from symbias.solvers.starts import _largest, _least_norm, _normal

SHAPES = [(5, 40), (30, 12), (12, 12), (1, 6), (6, 1), (2, 2)]


def matrix(shape: tuple[int, int], rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    if rank is None:
        return rng.normal(size=shape)
    return rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_least_squares_of_least_norm(shape: tuple[int, int]) -> None:
    B, y = matrix(shape), np.random.default_rng(1).normal(size=shape[0])
    np.testing.assert_allclose(_least_norm(B, y), np.linalg.lstsq(B, y)[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8)])
def test_least_norm_of_dependent_rows_and_columns(shape: tuple[int, int]) -> None:
    B, y = matrix(shape, rank=3), np.random.default_rng(1).normal(size=shape[0])
    np.testing.assert_allclose(_least_norm(B, y), np.linalg.lstsq(B, y)[0], rtol=1e-5, atol=1e-6)
    assert not _least_norm(0 * B, y).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_largest_singular_value(shape: tuple[int, int]) -> None:
    B = matrix(shape)
    assert _largest(B) == pytest.approx(np.linalg.svd(B)[1][0], rel=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_normal_products_as_rows_become_sparse_and_dense_again(shape: tuple[int, int]) -> None:
    B, rng = matrix(shape), np.random.default_rng(2)
    product = _normal(B)
    for share in (1.0, 0.1, 0.1, 0.5, 0.0, 0.05, 1.0):
        rows = rng.normal(size=(3, shape[1])) * (rng.random(shape[1]) <= share)
        np.testing.assert_allclose(product(rows), rows @ (B.T @ B), rtol=1e-10, atol=1e-12)
