"""Checks a user can ask for: of the values of arrays, and of a claimed symmetry."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, concrete
from symbias.symmetry.action import act, random_element
from symbias.symmetry.bonds import Symmetry


def validate(symmetry: Symmetry, params: Params) -> None:
    """Check that the arrays fit the bonds and hold only finite numbers. Eager.

    Raises
    ------
    ValueError, TypeError
        With the bond, the array and what was expected.
    """
    xp = symmetry.check(params)
    for name in symmetry.arrays:
        if not bool(xp.all(xp.isfinite(params[name]))):
            raise ValueError(f"array {name!r} holds values that are not finite")


@contextmanager
def decomposing(symmetry: Symmetry, params: Params) -> Iterator[None]:
    """Name the array that is not finite where a decomposition fails because of it. Eager.

    Raises
    ------
    ValueError
        As `validate` does.
    """
    try:
        yield
    except (np.linalg.LinAlgError, RuntimeError) as error:  # torch's is a RuntimeError
        if "LinAlgError" in type(error).__name__:
            validate(symmetry, params)
        raise


def check_invariance(
    predict: Callable[[dict[str, Array], Any], Array],
    symmetry: Symmetry,
    params: Params,
    inputs: Any,
    seed: int | np.random.Generator = 0,
) -> float:
    """How much the predictor changes when the claimed symmetry acts.

    The largest ``|f(g theta) - f(theta)|`` over the largest ``|f(theta)|``, over elements near the
    identity (scale 1e-3) and far from it (scale 0.5), for each bond alone and for all together.
    Rounding gives about 1e-15 in float64; a wrong claim gives 1e-4 or more.

    Parameters
    ----------
    predict
        ``predict(params, inputs)`` returns an array.
    symmetry, params
        The claim, and the named arrays it is about.
    inputs
        Handed to ``predict`` as they are.
    seed
        Of the random elements.

    Raises
    ------
    ValueError, TypeError
        If the arrays do not fit the bonds, or a prediction at ``params`` is not finite.
    """
    validate(symmetry, params)
    rng = np.random.default_rng(seed)
    reference = _values(predict(dict(params), inputs))
    if not np.isfinite(reference).all():
        raise ValueError("the prediction at these parameters is not finite")
    size = max(float(np.max(np.abs(reference), initial=0.0)), np.finfo(float).tiny)
    worst = 0.0
    for scale in (1e-3, 0.5):
        element = random_element(symmetry, rng, scale)
        for claim in [element, *({name: g} for name, g in element.items())]:
            moved = _values(predict(act(symmetry, claim, params), inputs))
            if not np.isfinite(moved).all():
                return float("inf")
            worst = max(worst, float(np.max(np.abs(moved - reference), initial=0.0)) / size)
    return worst


def _values(prediction: Array) -> np.ndarray:
    values = concrete(prediction)
    if values is None:
        raise TypeError("predict must return one array")
    return values.astype(np.float64)
