"""Products with B against the dense matrix in double precision."""

import numpy as np
import pytest
from scipy import sparse

from symbias.solvers.inputs import Inputs

KINDS = ["rows", "columns", "strided", "csr", "csc"]


def stored(X: np.ndarray, kind: str) -> object:
    if kind in ("csr", "csc"):
        return sparse.csr_array(X).asformat(kind)
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    return {"rows": X, "columns": np.asfortranarray(X), "strided": wide}[kind]


@pytest.mark.parametrize("shape", [(7, 5), (1300, 450), (450, 1300)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centred", [False, True])
def test_products_are_those_of_the_dense_matrix(
    shape: tuple[int, int], kind: str, dtype: type, centred: bool
) -> None:
    if centred and kind in ("csr", "csc"):
        pytest.skip("a sparse X has no centre")
    rng = np.random.default_rng(0)
    X = (rng.normal(size=shape) + 100 * centred).astype(dtype)
    X[rng.uniform(size=shape) < 0.5] = 0
    scale = rng.uniform(1, 2, size=shape[1])
    centre = X.mean(axis=0, dtype=float) if centred else None
    inputs = Inputs(stored(X, kind), scale, centre)
    B = (X.astype(float) - (0 if centre is None else centre)) * scale
    v, c = rng.normal(size=(shape[0], 2)), rng.normal(size=shape[1])
    a = rng.uniform(size=shape[0])
    size = np.abs(B).max() * sum(shape)

    def same(found: np.ndarray, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-15 * size)

    same(inputs.pull(v[:, 0]), B.T @ v[:, 0])
    same(inputs.push(c), B @ c)
    few = np.where(np.arange(shape[1]) < 2, c, 0.0)
    same(inputs.push(few), B @ few)
    pulls, norms = inputs.scan(v, a)
    same(pulls, B.T @ v)
    np.testing.assert_allclose(norms, a @ B**2, rtol=1e-12)
    for weights, gram in ((None, B.T @ B / len(B)), (a, (B * a[:, None]).T @ B)):
        found = inputs.gram(weights)
        np.testing.assert_allclose(found, gram, rtol=0, atol=1e-13 * np.abs(gram).max())
        assert found.flags.c_contiguous
    some = np.array([3, 1])
    np.testing.assert_array_equal(inputs.gather(some).dense(), B.T[some])
