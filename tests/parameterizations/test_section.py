"""`section` and `__call__` are inverse, and sections have the charge they were asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import symbias as sb
from tests.backends import back, each, to, x64
from tests.parameterizations.cases import CASES, NARROW

# zeros, signs, tiny and huge; beyond, quotients of two values leave the range of float64
VALUES = st.one_of(
    st.just(0.0),
    st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3),
    st.builds(lambda s, e: s * 10.0**e, st.sampled_from([-1, 1]), st.integers(-140, 140)),
)
CHARGES = st.sampled_from([0.0, 1e-8, 1.0, 1e6])


@each
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25)
@given(data=st.data())
def test_section_is_a_right_inverse(name: str, backend: str, data: st.DataObject) -> None:
    p = CASES[name]
    w, charge = data.draw(arrays(float, p.shape, elements=VALUES)), data.draw(CHARGES)
    with x64():
        params = p.section(to(backend, w), charge)
        assert {n: tuple(a.shape) for n, a in params.items()} == p.shapes
        again = back(p(params))
    scale = np.abs(w).max(initial=0.0)
    # elementwise designs are exact per entry; linear maps mix the entries of w
    mixing = isinstance(p, sb.Synthesis | sb.MatrixProduct | sb.Parts | sb.Sum)
    bound = scale if mixing else np.abs(w)
    slack = 1e2 if name in ("matrix", "matrix-free") else 1
    assert np.all(np.abs(again - w) <= 1e-12 * slack * bound)


@each
@pytest.mark.parametrize("name", NARROW)
@settings(max_examples=25)
@given(data=st.data())
def test_section_on_a_range(name: str, backend: str, data: st.DataObject) -> None:
    p = NARROW[name]
    w = data.draw(arrays(float, p.shape, elements=st.floats(1e-6, 1e3)))
    with x64():
        params = p.section(to(backend, w))
        assert {n: tuple(a.shape) for n, a in params.items()} == p.shapes
        np.testing.assert_allclose(back(p(params)), w, rtol=1e-11)


@each
@pytest.mark.parametrize("name", CASES)
@settings(max_examples=10)
@given(data=st.data())
def test_every_bond_has_the_charge(name: str, backend: str, data: st.DataObject) -> None:
    p = CASES[name]
    w = data.draw(arrays(float, p.shape, elements=st.floats(-1e3, 1e3, allow_subnormal=False)))
    charge = data.draw(CHARGES)
    with x64():
        params = p.section(to(backend, w), charge)
        norm = max([1.0, *(float(np.sum(back(a) ** 2)) for a in params.values())])
        for charges in map(back, sb.charges(p.symmetry, params).values()):
            wanted = np.full_like(charges, charge)
            if charges.ndim > 1:  # a matrix product's, on as many directions as w has
                wanted = charge * np.diag(np.arange(len(charges)) < min(len(charges), *p.shape))
            np.testing.assert_allclose(charges, wanted, rtol=0, atol=1e-11 * norm)


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].symmetry.bonds])
def test_the_symmetry_leaves_the_effective_parameter_alone(name: str) -> None:
    p = CASES[name]
    params = p.init(3)
    moved = sb.act(p.symmetry, sb.random_element(p.symmetry, 0, 1.0), params)
    assert any(not np.allclose(moved[n], params[n]) for n in params)
    np.testing.assert_allclose(p(moved), p(params), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_section_with_a_charge_is_alive_at_zero(depth: int) -> None:
    import jax

    p = sb.Hadamard(4, depth=depth)
    with x64():
        pull = jax.numpy.asarray([1.0, -2.0, 3.0, -4.0])
        gradient = jax.grad(lambda theta: p(theta) @ pull)
        dead = gradient(p.section(jax.numpy.zeros(4)))
        alive = gradient(p.section(jax.numpy.zeros(4), charge=0.5))
        assert all(np.all(back(g) == 0) for g in dead.values())
        assert np.all(np.abs(back(alive[f"u{depth}"])) > 0.1)


def test_init_follows_the_key() -> None:
    import jax
    import torch

    p = CASES["trend"]
    for key, kind in [
        (0, np.ndarray),
        (np.random.default_rng(0), np.ndarray),
        (jax.random.key(0), jax.Array),
        (torch.Generator().manual_seed(0), torch.Tensor),
    ]:
        params = p.init(key, 0.1)
        assert {n: tuple(a.shape) for n, a in params.items()} == p.shapes
        assert all(isinstance(a, kind) for a in params.values())
        assert 0 < np.abs(back(params["u1"])).max() < 1
    assert not np.array_equal(p.init(0)["u1"], p.init(0)["u2"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sb.Hadamard(3, depth=1), "depth must be an integer of at least 2"),
        (lambda: sb.Hadamard(-3), "shape must be non-negative"),
        (lambda: sb.GroupProduct(3, groups=[0, 1]), "one label per entry"),
        (lambda: sb.MatrixProduct(3, 0), "cols must be a positive integer"),
        (lambda: sb.MatrixProduct(3, 2, depth=1), "depth must be an integer of at least 2"),
        (lambda: sb.MatrixProduct(3, 3, rank=1).section(np.eye(3)), "rank above 1"),
        (lambda: sb.GroupProduct((3, 2), axis=2), "axis 2 does not exist"),
        (lambda: sb.CumulativeSum(0), "order must be"),
        (lambda: sb.CumulativeSum(2, spacing=[1.0, 0.0]), "positive finite"),
        (lambda: sb.CumulativeSum(1, free=2), "free must lie between"),
        (lambda: sb.Matrix([[1.0, 2.0]]), "must be square"),
        (lambda: sb.Matrix([[1.0, 2.0], [2.0, 4.0]]), "singular"),
        (lambda: sb.Matrix([[np.nan]]), "not finite"),
        (lambda: sb.Diagonal([1.0, -1.0]), "at least 0"),
        (lambda: sb.Diagonal([[1.0, 0.0]]), "zero weights"),
        (lambda: sb.Hadamard(3).section(np.zeros(4)), "expected \\(3,\\)"),
        (lambda: sb.Hadamard(3).section(np.zeros(3), charge=-1.0), "charge must be"),
        (lambda: sb.Hadamard(2)({"u1": np.ones(2)}), "missing or unknown"),
        (lambda: sb.Hadamard(2)({"u1": np.ones(2), "u2": np.ones(3)}), "factor 'u2' has shape"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_named() -> None:
    import torch

    with pytest.raises(TypeError, match="floating"):
        sb.Hadamard(2).section(np.array([1, 2]))
    with pytest.raises(TypeError, match="one library"):
        sb.Hadamard(2)({"u1": np.ones(2), "u2": torch.ones(2)})
