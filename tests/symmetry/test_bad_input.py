"""One clear line for every way to hold the engine wrong."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import symbias as sb
from tests.symmetry.cases import normal, product

GL = sb.GeneralLinear(3)
PARAMS = normal(P=(5, 3), Q=(3, 4))


def symmetry(*args: Any, **kwargs: Any) -> sb.Symmetry:
    return sb.Symmetry([sb.Bond(*args, **kwargs)])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: sb.Bond(GL), ValueError, "has no ends"),
        (lambda: sb.Bond("GL", [("P", 1)]), TypeError, "a bond needs a group"),
        (lambda: sb.Bond(GL, [("P",)]), TypeError, r"an end is \(array name, axis\)"),
        (lambda: sb.Bond(GL, ["P"]), TypeError, "an end is"),
        (lambda: sb.Bond(GL, [("P", -1)]), ValueError, "axis of 'P'"),
        (lambda: sb.Bond(GL, [("P", 1.0)]), ValueError, "axis of 'P'"),
        (lambda: sb.Bond(GL, [("P", 1), ("P", 1)]), ValueError, "twice on axis 1 of 'P'"),
        (lambda: sb.Bond(GL, [("P", None)], [("P", None)]), ValueError, "twice on the whole array"),
        (lambda: sb.Bond(GL, [("P", 1)], heads=0), ValueError, "heads must be"),
        (lambda: sb.Bond(GL, [("P", 1, [0.0, 1.0])]), TypeError, "labels of 'P' must be"),
        (lambda: sb.Bond(GL, [("P", 1, [0, 1, 3])]), ValueError, r"labels of 'P' must lie in -1"),
        (lambda: sb.Bond(GL, [("P", 1, [0, 1, 1, 2])]), ValueError, "every component equally"),
        (lambda: sb.GeneralLinear(0), ValueError, "at least 1"),
        (lambda: sb.Rescaling(2.5), TypeError, "integer size"),
        (lambda: sb.Rescaling(True), TypeError, "integer size"),
        (lambda: sb.Orthogonal(1), ValueError, "at least 2"),
        (lambda: sb.ComplexScaling(3), ValueError, "even size"),
        (lambda: sb.ComplexScaling(4, layout="both"), ValueError, "layout must be"),
        (lambda: sb.UniformScale(3), ValueError, "size 1"),
        (lambda: sb.Symmetry([GL]), TypeError, "made of bonds"),
        (
            lambda: sb.Symmetry([sb.Bond(GL, [("P", 1)]), sb.Bond(GL, [("P", 1)])]),
            ValueError,
            "two bonds are named 'P|'",
        ),
    ],
)
def test_construction(make: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("sym", "params", "error", "words"),
    [
        (symmetry(GL, [("R", 0)]), PARAMS, ValueError, r"no array 'R' among \['P', 'Q'\]"),
        (symmetry(GL, [("P", 2)]), PARAMS, ValueError, r"'P' of shape \(5, 3\) has no axis 2"),
        (symmetry(GL, [("P", 0)]), PARAMS, ValueError, r"5 entries along axis 0; .*needs 3"),
        (symmetry(GL, [("P", None)]), PARAMS, ValueError, "15 entries; .*needs 3"),
        (symmetry(GL, [("P", 0)], heads=2), PARAMS, ValueError, "needs a multiple of 6"),
        (
            symmetry(sb.Rescaling(3), [("P", 0, [0, 1, 2])]),
            PARAMS,
            ValueError,
            "5 entries along axis 0 for 3 labels",
        ),
        (product(3), PARAMS | {"P": np.ones((5, 3), int)}, TypeError, "'P'.*floating.*int64"),
        (product(3), PARAMS | {"P": np.ones((5, 3), complex)}, TypeError, "'P'.*complex128"),
        (product(3), PARAMS | {"P": torch.ones(5, 3)}, TypeError, "one library.*numpy.*torch"),
        (product(3), PARAMS | {"P": jnp.ones((5, 3))}, TypeError, "one library"),
        (product(3), PARAMS | {"P": [[1.0] * 3] * 5}, TypeError, "'P'|one library"),
    ],
)
def test_arrays_that_do_not_fit(
    sym: sb.Symmetry, params: Any, error: type[Exception], words: str
) -> None:
    for function in (sb.log_volume, sb.gram, sb.charges, sb.balance, sb.induced_norm, sb.validate):
        with pytest.raises(error, match=words):
            function(sym, params)
    with pytest.raises(error, match=words):
        sb.act(sym, {}, params)


def test_values_that_are_not_finite() -> None:
    params = PARAMS | {"Q": np.full((3, 4), np.nan)}
    for function in (sb.validate, sb.balance):
        with pytest.raises(ValueError, match="array 'Q' holds values that are not finite"):
            function(product(3), params)
    sb.validate(product(3), PARAMS)


def test_elements() -> None:
    with pytest.raises(ValueError, match="no bond named 'x'"):
        sb.act(product(3), {"x": np.eye(3)}, PARAMS)
    with pytest.raises(ValueError, match=r"element of 'Q\|P'.*wanted \(1, 3, 3\)"):
        sb.act(product(3), {"Q|P": np.eye(3)}, PARAMS)


def test_tangents() -> None:
    with pytest.raises(ValueError, match="tangent 'P' has shape"):
        sb.horizontal(product(3), PARAMS, PARAMS | {"P": np.ones((4, 3))})
    with pytest.raises(ValueError, match="no array 'P'"):
        sb.horizontal(product(3), PARAMS, {"Q": PARAMS["Q"]})
    with pytest.raises(TypeError, match="empty"):
        sb.log_volume(sb.Symmetry([]), {})


def test_integer_arrays_beside_the_symmetry_are_left_alone() -> None:
    params = PARAMS | {"step": np.arange(3)}
    moved = sb.act(product(3), sb.random_element(product(3), 0), params)
    assert moved["step"] is params["step"]
    assert float(sb.induced_norm(product(3), params)) == float(sb.induced_norm(product(3), PARAMS))
    assert sb.balance(product(3), params).params["step"] is params["step"]
