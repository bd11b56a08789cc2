"""Functions that a user must write for JAX: what goes wrong inside, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager


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
