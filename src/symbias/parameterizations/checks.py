"""What a function must keep to be a parameterization, seen on random factors."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from symbias._core.arrays import Array, Params, Shape
from symbias._core.extras import needed_by

DRAWS = 3
AGREEMENT = 1e-6  # between NumPy and JAX

Function = Callable[[Params], Array]


def check_function(fn: Function, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of fn(theta).

    Raises
    ------
    TypeError, ValueError
        For what `Parameterization.of` refuses, in one line.
    """
    rng = np.random.default_rng(0)
    draws = [{n: rng.normal(size=s) for n, s in shapes.items()} for _ in range(DRAWS)]
    first = _value(fn, draws[0])
    if not np.array_equal(first, _value(fn, draws[0])):
        raise ValueError("the function is random: two calls with the same factors differ")
    _check_traceable(fn, shapes)
    _check_jax(fn, draws, first)
    return tuple(int(n) for n in first.shape)


def _value(fn: Function, theta: dict[str, np.ndarray]) -> np.ndarray:
    """fn(theta) as NumPy, once it is a finite array of float64 and theta is as it was."""
    with needed_by("Parameterization.of"):
        import jax

    given = {n: a.copy() for n, a in theta.items()}
    try:
        with jax.enable_x64(True):
            w = fn(given)
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"the function fails on random factors: {type(error).__name__}: {reason}"
        ) from error
    if not hasattr(w, "shape"):
        raise TypeError(f"the function must return an array, got {type(w).__name__}")
    if given.keys() != theta.keys() or any(
        not isinstance(given[n], np.ndarray) or not np.array_equal(given[n], theta[n])
        for n in theta
    ):
        raise ValueError("the function changes the factors that it is given: copy them first")
    xp = array_namespace(w)
    if not xp.isdtype(w.dtype, "real floating"):
        raise TypeError(f"the function must return real floating-point numbers, got {w.dtype}")
    value = np.asarray(w)
    if not np.all(np.isfinite(value)):
        raise ValueError("the function is not finite at random factors")
    if value.dtype != np.float64:
        raise TypeError(f"the function returns {value.dtype} for float64 factors: it rounds")
    return value


def _check_traceable(fn: Function, shapes: Mapping[str, Shape]) -> None:
    import jax

    like = {n: jax.ShapeDtypeStruct(s, float) for n, s in shapes.items()}
    try:
        with jax.enable_x64(True):
            jax.eval_shape(fn, like)
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"the function runs on NumPy arrays, but not in JAX, which its derivatives take: "
            f"{type(error).__name__}: {reason}"
        ) from error


def _check_jax(fn: Function, draws: list[dict[str, np.ndarray]], first: np.ndarray) -> None:
    """The same value, and a derivative that is finite and somewhere not zero."""
    import jax
    import jax.numpy as jnp

    rng, moves = np.random.default_rng(1), False
    # compiled: eager operations on NumPy constants remember the precision of their first call
    program = jax.jit(lambda at, along: jax.jvp(fn, (at,), (along,)))
    with jax.enable_x64(True):
        for k, theta in enumerate(draws):
            along: Any = {n: jnp.asarray(rng.normal(size=a.shape)) for n, a in theta.items()}
            at = {n: jnp.asarray(a) for n, a in theta.items()}
            w, rate = (np.asarray(a) for a in program(at, along))
            if k == 0 and not np.allclose(w, first, rtol=AGREEMENT, atol=AGREEMENT):
                raise ValueError("the function has another value in JAX than on NumPy arrays")
            if not np.all(np.isfinite(rate)):
                raise ValueError("the derivative of the function is not finite at random factors")
            moves = moves or bool(np.any(rate))
    if first.size and not moves:
        raise ValueError("the function is constant: its derivative is zero at random factors")
