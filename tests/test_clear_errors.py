"""One clear line for what a user may well type, wherever a number or a function is expected."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb

X = np.random.default_rng(0).normal(size=(12, 4))
CLASSES = (X[:, 0] > 0).astype(int)


def least_squares() -> sb.Problem:
    params = {"w": np.zeros(4)}
    return sb.Problem(predict=lambda p, x: x @ p["w"], params=params, data=(X, X[:, 0]))


def law(loss: Any) -> sb.Law:
    return sb.Langevin(1.0).law(sb.Radial((), 3, sb.PowerLink(2.0)), loss)


def boom(w: np.ndarray) -> np.ndarray:
    raise RuntimeError("no such file")


@pytest.mark.parametrize("value", ["a", True, None, 1j])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("strength", sb.WeightDecay),
        ("eps", sb.LogSum),
        ("q", sb.Lq),
        ("l1_ratio", sb.ElasticNet),
        ("learning_rate", sb.SGD),
        ("weight_decay", lambda v: sb.SGD(0.1, weight_decay=v)),
        ("momentum", lambda v: sb.SGD(0.1, momentum=v)),
        ("init_scale", sb.GradientFlow),
        ("temperature", sb.Langevin),
        ("orbital", lambda v: sb.Langevin(1.0, v)),
        ("sigma", lambda v: sb.LabelNoise(v, 0.1)),
        ("tol", lambda v: sb.DesignedRegressor(tol=v).fit(X, X[:, 0])),
    ],
)
def test_what_is_not_a_number_is_named(name: str, make: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number, got"):
        make(value)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: sb.DesignedRegressor("l1", "auto").fit(X, X[:, 0]), "DesignedRegressorCV chooses"),
        (lambda: sb.DesignedClassifier(class_weight={0: -1.0}).fit(X, CLASSES), r"weight\[0\]"),
        (lambda: sb.DesignedClassifier(class_weight={1: math.inf}).fit(X, CLASSES), r"weight\[1\]"),
        (
            lambda: sb.DesignedRegressor(sb.GroupLasso([0, 0, math.nan, 1])).fit(X, X[:, 0]),
            "labels that are not finite",
        ),
        (lambda: sb.LatentGroupLasso([[0, 1.5], [2, 3]])(np.ones(4)), "group 0 .* whole numbers"),
        (lambda: sb.LatentGroupLasso([[0, 1], [2, 2, 3]])(np.ones(4)), "group 1 .* twice"),
        (lambda: law(lambda w: w * jnp.ones(3)), r"one number, it has shape \(3,\)"),
        (lambda: law(3), "function of w"),
        (lambda: sb.Custom(boom), "boom .* RuntimeError: no such file"),
        (lambda: sb.Custom(lambda w: math.log1p(w)), "elementwise on a NumPy array"),
        (lambda: sb.compare(3, X), "takes a law"),
        (lambda: sb.compare(law(lambda w: w**2), X[:, 0] * 1j), "complex"),
        (lambda: sb.holm([3]), "takes evidence"),
        (lambda: sb.card(3), "takes a parameterization"),
        (lambda: sb.simulate(least_squares(), sb.SGD(0.1), steps=1, key="a"), "key must be"),
        (
            lambda: sb.simulate(
                least_squares(), sb.SGD(0.1), steps=1, every=1, observe={"z": lambda p: p["w"] * 1j}
            ),
            "'z' is complex",
        ),
    ],
)
def test_one_clear_line(call: Callable[[], Any], line: str) -> None:
    with pytest.raises((ValueError, TypeError), match=line) as error:
        call()
    assert "\n" not in str(error.value)


def test_old_style_keys_are_keys() -> None:
    old, new = jax.random.PRNGKey(3), jax.random.key(3)
    runs = [
        sb.simulate(least_squares(), sb.SGD(0.1, 2), steps=4, key=key, progress=False)
        for key in (old, new)
    ]
    np.testing.assert_array_equal(runs[0].final["w"], runs[1].final["w"])


def test_one_sample_is_no_division_by_zero() -> None:
    model = sb.DesignedRegressor("ridge", 0.1).fit(X[:1], X[:1, 0])
    np.testing.assert_array_equal(model.coef_, 0)
