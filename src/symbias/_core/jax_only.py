"""Functions that a user must write for JAX: what goes wrong inside, in one line."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def written_in_jax(what: str) -> Iterator[None]:
    """Say of ``what`` that it is not written in jax.numpy, where JAX cannot trace it.

    Raises
    ------
    TypeError
        In the place of JAX's errors about tracers, and of those of libraries that got one.
    """
    import jax

    kinds = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
    try:
        yield
    except Exception as error:
        if not isinstance(error, kinds) and "Tracer" not in str(error):
            raise
        raise TypeError(
            f"{what} must be written in jax.numpy, for JAX to trace it: NumPy, PyTorch, float(), "
            f"math and `if` on values cannot be ({type(error).__name__})"
        ) from None


def fingerprint(traced: Any) -> bytes:
    """A traced program's text and constants: equal for equal programs, in every process."""
    constants = b"".join(np.ascontiguousarray(c).tobytes() for c in traced.consts)
    return without_addresses(str(traced.jaxpr)).encode() + constants


def without_addresses(text: str) -> str:
    """Without memory addresses, which differ from one process to the next."""
    return re.sub(r"0x[0-9a-f]+", "", text)


def traced_alike(what: str, function: Callable[..., Any], *like: Any) -> Any:
    """The program that JAX makes of a function at arrays like these.

    Raises
    ------
    TypeError
        Where JAX cannot trace it.
    ValueError
        Where two traces are different programs: a number drawn while a function is traced is a
        constant for the whole run.
    """
    import jax

    with written_in_jax(what):  # through a new function each time: JAX remembers traces
        first, again = (jax.make_jaxpr(lambda *a: function(*a))(*like) for _ in range(2))
    if fingerprint(first) != fingerprint(again):
        raise ValueError(
            f"{what} is random: two calls with the same arguments differ, and JAX would hold the "
            "numbers of one of them as constants. Draw with jax.random, from a key"
        )
    return first
