"""Margins of norms: by hand, by duality, against each other and against training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symbias as sb
from symbias._core.norms import NORMS
from symbias.studies import adaptive

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 12))
Y = X[:, 0] - 0.7 * X[:, 1] > 0
STEEPEST = [s for s in adaptive.SETTINGS if s.name.startswith("steepest")]
VALUE = {
    "l1": lambda w: np.abs(w).sum(),
    "l2": lambda w: np.sqrt((w**2).sum()),
    "linf": lambda w: np.abs(w).max(),
    "spectral": lambda w: np.linalg.svd(w)[1].max(),
}
DUAL = {
    "l1": lambda g: np.abs(g).max(),
    "l2": lambda g: np.sqrt((g**2).sum()),
    "linf": lambda g: np.abs(g).sum(),
    "spectral": lambda g: np.linalg.svd(g)[1].sum(),
}


def direction(norm: str, x=X, y=Y, shape=(3, 4)) -> sb.Margin:
    return sb.SteepestDescent(norm).direction(sb.Plain(shape), x.reshape(-1, *shape), y)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), norm=st.sampled_from(NORMS))
def test_a_margin_and_its_proof(seed: int, norm: str) -> None:
    """alpha >= 0 with |sum alpha y x|_* = 1: no w of margin 1 has a norm below sum alpha."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(10, 12))
    y = np.where(x @ rng.normal(size=12) > 0, 1.0, -1.0)
    y[0], x[0] = -y[1], -x[1]  # two classes
    found = direction(norm, x, y)
    assert found.least
    assert found.gap < 1e-7
    assert pytest.approx(VALUE[norm](found.w), rel=1e-9) == found.R
    np.testing.assert_allclose(found.margins, y * (x @ found.w.ravel()), rtol=1e-9)
    assert found.margins.min() == pytest.approx(1)
    assert np.all(found.multipliers >= 0)
    pull = ((found.multipliers * y) @ x).reshape(3, 4)
    assert DUAL[norm](pull) == pytest.approx(1, rel=1e-9)
    assert found.multipliers.sum() == pytest.approx(found.R, rel=1e-7)
    other = rng.normal(size=12)
    least = np.min(y * (x @ other))
    if least > 0:
        assert VALUE[norm](other.reshape(3, 4)) / least >= found.R * (1 - 1e-9)


def test_one_sample_by_hand() -> None:
    """The steepest direction of one sample, at margin 1."""
    a = np.diag([3.0, 1.0])
    x, y = np.stack([a, -a]).reshape(2, 4), np.array([1, 0])
    wanted = {
        "l1": np.diag([1 / 3, 0]),
        "l2": a / 10,
        "spectral": np.eye(2) / 4,
    }
    for norm, w in wanted.items():
        np.testing.assert_allclose(direction(norm, x, y, (2, 2)).w, w, atol=1e-6)
    x = np.array([[3.0, -1.0], [-3.0, 1.0]])
    np.testing.assert_allclose(direction("linf", x, y, (2,)).w, [0.25, -0.25], atol=1e-9)


def test_l2_and_l1_are_those_of_w_and_of_u_v() -> None:
    for norm, p in (("l2", sb.Plain(12)), ("l1", sb.Hadamard(12))):
        found = direction(norm, shape=(12,))
        np.testing.assert_allclose(found.w, sb.MaxMargin().direction(p, X, Y).w, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("norm", NORMS)
def test_inputs_of_any_unit(norm: str, scale: float) -> None:
    one, other = direction(norm), direction(norm, scale * X)
    np.testing.assert_allclose(scale * other.w, one.w, atol=1e-6)
    assert scale * other.R == pytest.approx(one.R, rel=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_several_classes(norm: str) -> None:
    own = np.argmax(X[:, :3], axis=1)
    found = sb.SteepestDescent(norm).direction(sb.Plain((12, 3)), X, own)
    scores = X @ found.w
    others = np.where(np.arange(3) == own[:, None], -np.inf, scores).max(axis=1)
    np.testing.assert_allclose(found.margins, scores[np.arange(30), own] - others, rtol=1e-9)
    assert found.gap < 1e-7
    assert pytest.approx(VALUE[norm](found.w)) == found.R


@pytest.mark.parametrize("norm", NORMS)
def test_induced_is_the_norm(norm: str) -> None:
    w = RNG.normal(size=(3, 4))
    value = sb.SteepestDescent(norm).induced(sb.Plain((3, 4)))(w)
    assert float(value) == pytest.approx(VALUE[norm](w))


@pytest.mark.parametrize("setting", STEEPEST, ids=lambda s: s.name)
def test_steepest_descent_goes_to_the_margin_of_its_norm(setting: adaptive.Setting) -> None:
    """20 features, 10 samples; the rival is 28 degrees away or more."""
    row = adaptive.margin_row(setting, 20, 10, 0, steps=50_000)
    assert row["angle"] < 5
    assert row["rival_angle"] > 25
    assert 0.98 < row["ratio"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("setting", STEEPEST, ids=lambda s: s.name)
def test_ten_problems(setting: adaptive.Setting) -> None:
    rows = [adaptive.margin_row(setting, 20, 10, seed) for seed in range(10)]
    assert all(row["angle"] < row["rival_angle"] for row in rows)
    assert min(row["ratio"] for row in rows) > 0.98


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sb.SteepestDescent("l3"), "norm must be one of l1, l2, linf, spectral, got 'l3'"),
        (lambda: sb.SteepestDescent(2), "norm must be one of"),
        (lambda: direction("linf", np.vstack([X, X[:1]]), np.append(Y, ~Y[0])), "not separable"),
        (lambda: direction("spectral", shape=(12,)), r"w has shape \(12,\): take l2"),
        (lambda: direction("l1", y=np.zeros(30)), "one class only"),
        (lambda: sb.SteepestDescent("l1").direction(sb.Hadamard(12), X, Y), "Take sb.Plain"),
        (lambda: sb.SignDescent().induced(sb.MatrixProduct(3, 4)), "where sign descent takes w"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_large_matrices_are_refused_for_the_spectral_norm_alone() -> None:
    x = RNG.normal(size=(2, 31, 30))
    with pytest.raises(sb.Refused, match="61 rows and columns together"):
        sb.SteepestDescent("spectral").direction(sb.Plain((31, 30)), x, [0, 1])
    assert sb.SteepestDescent("linf").direction(sb.Plain((31, 30)), x, [0, 1]).gap < 1e-7
