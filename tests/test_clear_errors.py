"""One clear line for what a user may well type, wherever a number or a function is expected."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

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
        ("degree", lambda v: sb.NormalizedDescent(0.1, v)),
        ("temperature", sb.Langevin),
        ("orbital", lambda v: sb.Langevin(1.0, v)),
        ("weight_decay", sb.AdamW),
        ("learning_rate", lambda v: sb.steepest_descent("l1", v)),
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


TORCH: list[Callable[..., Any]] = [
    lambda p, x: torch.as_tensor(x) @ torch.as_tensor(p["w"]),
    lambda p, x: np.asarray(x) @ np.asarray(p["w"]),
    lambda p, x: x @ p["w"] if float(p["w"][0]) > 0 else x @ p["w"] * 2,
]


@pytest.mark.parametrize("predict", TORCH, ids=["torch", "numpy", "if"])
def test_functions_of_other_libraries_are_told_apart(predict: Callable[..., Any]) -> None:
    """Wherever JAX traces a user's function: one line, that says so."""

    def cost(w: Any) -> Any:
        return predict({"w": w}, X)[0] ** 2

    problem = sb.Problem(predict=predict, params={"w": np.zeros(4)}, data=(X, X[:, 0]))
    mine = sb.Law(cost, "predictor", (4,))
    start = sb.Problem(
        predict=predict, params=lambda key: {"w": predict({"w": jax.random.normal(key, (4,))}, X)}
    )
    calls: list[Callable[[], Any]] = [
        lambda: sb.discover(predict, {"w": (4,)}, X),
        lambda: sb.simulate(problem, sb.SGD(0.1), steps=1),
        lambda: sb.simulate(
            least_squares(), sb.SGD(0.1), steps=1, observe={"z": lambda p: cost(p["w"])}
        ),
        lambda: sb.Langevin(1.0).law(sb.Radial((4,), 3, sb.PowerLink(2.0)), cost),
        lambda: mine(np.ones(4)),
        lambda: mine.evaluate(np.ones((3, 4))),
        lambda: mine.sample(3),
        start.shapes,
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError), match="written in jax") as error:
            call()
        assert "\n" not in str(error.value)


def test_a_predictor_that_is_finite_nowhere_has_no_symmetries_to_find() -> None:
    for nowhere in (lambda p, x: jnp.full(3, jnp.nan), lambda p, x: x @ p["w"] * 0 + jnp.inf):
        with pytest.raises(ValueError, match="finite nowhere"):
            sb.discover(nowhere, {"w": (4,)}, X)


def test_a_class_without_weight_is_no_class() -> None:
    """Two classes are left, and one row of coefficients; as if its samples were not there."""
    labels = np.array(["a", "b", "c"] * 4)
    weight = np.where(labels == "c", 0.0, 1.0)
    kept = labels != "c"
    for penalty in ("l1", sb.Nuclear()):
        for model in (
            sb.DesignedClassifier(penalty, 0.01).fit(X, labels, sample_weight=weight),
            sb.DesignedClassifier(penalty, 0.01, class_weight={"a": 1, "b": 1, "c": 0}).fit(
                X, labels
            ),
        ):
            alone = sb.DesignedClassifier(penalty, 0.01).fit(X[kept], labels[kept])
            assert model.coef_.shape == alone.coef_.shape == (1, 4)
            np.testing.assert_allclose(model.coef_, alone.coef_, atol=1e-6)
            assert model.predict_proba(X).shape == (12, 2)


@pytest.mark.parametrize("labels", [["a", None, "b", "b"], [None, 1, 1, 2]])
def test_labels_of_groups_are_of_one_kind(labels: list[Any]) -> None:
    for call in (
        lambda: sb.DesignedRegressor(sb.GroupLasso(labels)).fit(X, X[:, 0]),
        lambda: sb.GroupProduct((4,), groups=labels),
    ):
        with pytest.raises(ValueError, match=r"groups hold labels .*one kind"):
            call()


PRODUCTS = sb.Hadamard(3)
IN_W: dict[str, Callable[[Any], Any]] = {
    "penalty": lambda w: sb.WeightDecay(0.1).penalty(PRODUCTS, w),
    "label noise": lambda w: sb.LabelNoise(0.1, 0.1, 1).penalty(PRODUCTS, w, np.eye(3)),
    "gradient flow": lambda w: sb.GradientFlow(0.1).potential(PRODUCTS, w),
    "potential": lambda w: sb.GradientFlow(0.1).induced(PRODUCTS).evaluate(w).value,
    "law": lambda w: sb.Langevin(0.3).law(PRODUCTS, lambda w: jnp.sum(w**2))(w),
    "balanced norm": PRODUCTS.balanced_norm,
    "section": lambda w: PRODUCTS(PRODUCTS.section(w)).sum(),
}


@pytest.mark.parametrize("name", IN_W)
def test_w_is_an_array_or_a_list(name: str) -> None:
    call, w = IN_W[name], [1, 2.0, 3]
    assert float(call(w)) == pytest.approx(float(call(np.array(w))), abs=1e-12)
    for wrong in ("abc", None, {"a": 1}, [1, "b", 2], [[1, 2], [3]]):
        with pytest.raises(TypeError, match=r"w must be an array of numbers of shape \(3,\)"):
            call(wrong)
    for shape in ([1.0, 2.0], 3.0):
        with pytest.raises(ValueError, match=r"w has shape .*, expected \(3,\)"):
            call(shape)
    with pytest.raises(TypeError, match="floating-point array, got int"):
        call(np.array([1, 2, 3]))


@pytest.mark.parametrize("theta", [[1.0, 2.0], None, 3.0, np.ones(3)])
@pytest.mark.parametrize(
    "call",
    [
        PRODUCTS,
        lambda theta: sb.log_volume(PRODUCTS.symmetry, theta),
        lambda theta: sb.charges(PRODUCTS.symmetry, theta),
        lambda theta: sb.balance(PRODUCTS.symmetry, theta),
        lambda theta: sb.Potential(PRODUCTS, theta)(np.ones(3)),
        lambda theta: sb.GradientFlow(0.1).bregman_projection(
            PRODUCTS, np.ones((1, 3)), np.ones(1), np.ones(3) if theta is None else theta
        ),
    ],
)
def test_theta_is_a_dict(call: Callable[[Any], Any], theta: Any) -> None:
    with pytest.raises(TypeError, match="expected a dict of arrays by name, got"):
        call(theta)
