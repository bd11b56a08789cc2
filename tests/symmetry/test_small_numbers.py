"""Arrays whose squares underflow, and arrays that hold no numbers."""

from typing import Any

import jax
import numpy as np
import pytest
import torch

import symbias as sb
from tests.backends import back

LIKE = {"numpy": np.asarray, "jax": jax.numpy.asarray, "torch": torch.asarray}  # same precision
PARTS: dict[str, Any] = {
    "matrix": sb.MatrixProduct(4, 3, 2),
    "deep": sb.MatrixProduct(3, 3, 3, depth=3),
    "product": sb.Hadamard(5),
    "of three": sb.Hadamard(5, 3),
    "groups": sb.GroupProduct((6,), groups=[0, 0, 1, 1, 2, 2]),
    "radial": sb.Radial((4,), 3, sb.PowerLink(2.0)),
}


def draw(name: str, scale: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    theta = PARTS[name].section(np.ones(PARTS[name].shape))
    return {k: scale * rng.normal(size=np.shape(v)) for k, v in theta.items()}


@pytest.mark.parametrize("scale", [1e-25, 1e-36, 1e25])
@pytest.mark.parametrize("backend", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", PARTS)
def test_volumes_of_small_and_large_numbers(name: str, backend: str, scale: float) -> None:
    """In single precision as in double; a direction that moves something adds log(scale)."""
    symmetry = PARTS[name].symmetry
    exact = sb.volume(symmetry, draw(name, 1.0))
    moving = symmetry.dim - int(exact.stabilizers)
    wanted = float(exact.log_volume) + moving * np.log(scale)
    theta = {k: LIKE[backend](v.astype(np.float32)) for k, v in draw(name, scale).items()}
    for method in ("auto", "dense"):
        found = sb.volume(symmetry, theta, method=method)
        assert int(found.stabilizers) == int(exact.stabilizers)
        np.testing.assert_allclose(float(found.log_volume), wanted, rtol=2e-6)


@pytest.mark.parametrize("name", PARTS)
def test_what_is_horizontal_does_not_depend_on_the_scale(name: str) -> None:
    symmetry, rng = PARTS[name].symmetry, np.random.default_rng(1)
    theta = draw(name, 1.0)
    tangent = {k: rng.normal(size=v.shape) for k, v in theta.items()}
    exact = sb.horizontal(symmetry, theta, tangent)
    small = {k: (1e-25 * v).astype(np.float32) for k, v in theta.items()}
    found = sb.horizontal(symmetry, small, {k: v.astype(np.float32) for k, v in tangent.items()})
    for k, value in exact.items():
        np.testing.assert_allclose(found[k], value, atol=1e-5)


def test_the_derivative_is_that_of_the_volume() -> None:
    symmetry = PARTS["matrix"].symmetry
    theta = draw("matrix", 1e-25)
    small = {k: jax.numpy.asarray(v.astype(np.float32)) for k, v in theta.items()}
    slopes = jax.jit(jax.grad(lambda p: sb.log_volume(symmetry, p)))(small)
    along = sum(float(np.vdot(theta[k], back(slopes[k]))) for k in theta)
    assert along == pytest.approx(symmetry.dim, rel=1e-5)  # homogeneous of that degree


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("name", ["matrix", "deep"])
def test_what_is_no_number_is_named(name: str, backend: str) -> None:
    symmetry = PARTS[name].symmetry
    theta = {k: LIKE[backend](v) for k, v in draw(name, 1.0).items()}
    first = next(iter(theta))
    theta[first][0, 0] = np.nan
    for call in (
        lambda: sb.log_volume(symmetry, theta),
        lambda: sb.horizontal(symmetry, theta, theta),
        lambda: sb.induced_norm(symmetry, theta),
    ):
        try:
            found = call()
        except ValueError as error:
            assert f"array {first!r} holds values that are not finite" in str(error)  # noqa: PT017
        else:  # where nothing is decomposed it shows in the number
            values = found.values() if isinstance(found, dict) else [found]
            assert not all(np.isfinite(back(v)).all() for v in values)
