"""The action of a group against its algebra, its charges, and projections off the orbit."""

import jax
import numpy as np
import pytest

import symbias as sb
from tests.symmetry.backends import backend, host
from tests.symmetry.cases import (
    CASES,
    PAIRS,
    Params,
    axis_matrix,
    back,
    basis,
    definition,
    ends_of,
    fronts,
    normal,
    product,
)


def flat(sym: sb.Symmetry, params: Params) -> np.ndarray:
    return np.concatenate([host(params[name]).reshape(-1) for name in sym.arrays])


@pytest.mark.parametrize(("name", "library"), PAIRS)
def test_action_is_multiplication_by_the_element(name: str, library: str) -> None:
    sym, params = CASES[name]()
    element = sb.random_element(sym, seed=3, scale=0.7)
    with backend(library) as make:
        given = make(params)
        moved = {k: host(v) for k, v in sb.act(sym, element, given).items()}
        for key, value in given.items():
            np.testing.assert_array_equal(host(value), params[key])
    expected = dict(params)
    for bond in sym:
        for spec, dual, power in ends_of(bond):
            x = np.concatenate(fronts(spec, expected))
            total = np.zeros((len(x), len(x)))
            for head, g in enumerate(element[bond.name]):
                g = np.diag(g**power) if g.ndim == 1 else g
                if not isinstance(bond.group, sb.Translation):
                    g = np.linalg.inv(g).T if dual else g
                else:
                    g = -g if dual else g
                total += axis_matrix(bond, spec, len(x), head, g)
            if isinstance(bond.group, sb.Translation):
                x = x + np.diag(total).reshape(-1, *[1] * (x.ndim - 1))
            else:
                untouched = np.diag((total == 0).all(axis=1).astype(float))
                x = np.tensordot(total + untouched, x, 1)
            expected |= back(spec, x, expected)
    for key in params:
        np.testing.assert_allclose(moved[key], expected[key], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_generators_are_derivatives_of_the_action(name: str) -> None:
    """Every random element near the identity moves along a combination of generators."""
    sym, params = CASES[name]()
    generators = definition(sym, params)
    step = 1e-5
    velocity = (
        flat(sym, sb.act(sym, sb.random_element(sym, seed=1, scale=step), params))
        - flat(sym, params)
    ) / step
    coefficients = np.linalg.lstsq(generators.T, velocity)[0]
    residual = velocity - generators.T @ coefficients
    assert np.linalg.norm(residual) < 3e-4 * np.linalg.norm(velocity)
    identity = sb.act(sym, sb.random_element(sym, seed=1, scale=0.0), params)
    np.testing.assert_allclose(flat(sym, identity), flat(sym, params), rtol=1e-12)


@pytest.mark.parametrize(("name", "library"), PAIRS)
def test_charges_are_moments_of_the_symmetric_generators(name: str, library: str) -> None:
    """``<Q, A> = <theta, xi_A>``: half the rate at which ``|theta|^2`` grows along ``A``."""
    sym, params = CASES[name]()
    with backend(library) as make:
        found = {k: host(q) for k, q in sb.charges(sym, make(params)).items()}
    moments = definition(sym, params) @ flat(sym, params)
    start = 0
    for bond in sym:
        heads, dim = bond.heads or 1, bond.group.dim
        moment = moments[start : start + heads * dim].reshape(heads, dim)
        start += heads * dim
        q = found[bond.name] if bond.heads else found[bond.name][None]
        if isinstance(bond.group, sb.GeneralLinear):
            matrices = np.einsum("hd,dij->hij", moment, np.stack(basis(bond.group)))
            np.testing.assert_allclose(q, matrices, atol=1e-12)
        elif isinstance(bond.group, sb.IndefiniteOrthogonal):
            matrices = np.einsum("hd,dij->hij", moment, np.stack(basis(bond.group)))
            plus = bond.group.plus
            np.testing.assert_allclose(q, matrices[:, :plus, plus:], atol=1e-12)
            matrices[:, :plus, plus:] = matrices[:, plus:, :plus] = 0
            np.testing.assert_allclose(matrices, 0, atol=1e-12)
        elif isinstance(bond.group, sb.Orthogonal):
            assert q.shape == (heads, 0)
            np.testing.assert_allclose(moment, 0, atol=1e-12)
        elif isinstance(bond.group, sb.ComplexScaling):
            np.testing.assert_allclose(q / np.sqrt(2), moment[:, : dim // 2], atol=1e-12)
            np.testing.assert_allclose(moment[:, dim // 2 :], 0, atol=1e-12)
        else:
            np.testing.assert_allclose(q, moment, atol=1e-12)


def test_gradient_flow_conserves_charges() -> None:
    """A Runge-Kutta run of gradient flow on |PQ - A|^2 / 2 keeps Q to the integrator's error."""
    from scipy.integrate import solve_ivp

    sym, params = product(3), normal(P=(5, 3), Q=(3, 4))
    target = normal(A=(5, 4), seed=9)["A"]

    def flow(_: float, theta: np.ndarray) -> np.ndarray:
        p, q = theta[:15].reshape(5, 3), theta[15:].reshape(3, 4)
        error = p @ q - target
        return -np.concatenate([(error @ q.T).reshape(-1), (p.T @ error).reshape(-1)])

    start = np.concatenate([params["P"].reshape(-1), params["Q"].reshape(-1)])
    end = solve_ivp(flow, (0, 5), start, rtol=1e-11, atol=1e-12).y[:, -1]
    final = {"P": end[:15].reshape(5, 3), "Q": end[15:].reshape(3, 4)}
    assert np.linalg.norm(end - start) > 1
    before, after = sb.charges(sym, params)["Q|P"], sb.charges(sym, final)["Q|P"]
    np.testing.assert_allclose(after, before, atol=1e-8)


@pytest.mark.parametrize(("name", "library"), PAIRS)
def test_horizontal_is_the_orthogonal_projection(name: str, library: str) -> None:
    sym, params = CASES[name]()
    generators = definition(sym, params)
    rng = np.random.default_rng(5)
    tangent = {k: rng.standard_normal(v.shape) for k, v in params.items()}
    with backend(library) as make:
        project = jax.jit(sb.horizontal, static_argnums=0) if library == "jax" else sb.horizontal
        found = project(sym, make(params), make(tangent))
        part = flat(sym, found)
        for key in set(params) - set(sym.arrays):
            np.testing.assert_array_equal(host(found[key]), tangent[key])
    whole = flat(sym, tangent)
    _, s, vh = np.linalg.svd(generators, full_matrices=False)
    rows = vh[s > 1e-12 * s.max()]
    expected = whole - rows.T @ (rows @ whole)
    np.testing.assert_allclose(part, expected, atol=1e-8 * np.linalg.norm(whole))


@pytest.mark.parametrize("name", ["deep_linear", "ring", "residual_stream", "island"])
def test_horizontal_by_conjugate_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from symbias.symmetry import projection

    sym, params = CASES[name]()
    rng = np.random.default_rng(5)
    tangent = {k: rng.standard_normal(v.shape) for k, v in params.items()}
    exact = flat(sym, sb.horizontal(sym, params, tangent))
    monkeypatch.setattr(projection, "DENSE_COST", 0)
    np.testing.assert_allclose(flat(sym, sb.horizontal(sym, params, tangent)), exact, atol=1e-10)


def test_horizontal_of_an_invariant_gradient_is_itself() -> None:
    sym, params = product(3), normal(P=(5, 3), Q=(3, 4))
    error = params["P"] @ params["Q"] - 1
    gradient = {"P": error @ params["Q"].T, "Q": params["P"].T @ error}
    kept = sb.horizontal(sym, params, gradient)
    for key, value in gradient.items():
        np.testing.assert_allclose(kept[key], value, rtol=1e-10)


def test_random_elements_reach_every_component() -> None:
    signed = sb.Symmetry([sb.Bond(sb.Rescaling(50, signed=True), [("u", 0)], [("v", 0)])])
    assert (sb.random_element(signed, 0)["u|v"] < 0).any()
    assert (sb.random_element(signed, 0, scale=0.01)["u|v"] > 0).all()
    plain = sb.Symmetry([sb.Bond(sb.Rescaling(50), [("u", 0)], [("v", 0)])])
    assert (sb.random_element(plain, 0)["u|v"] > 0).all()
    turns = sb.Symmetry([sb.Bond(sb.Orthogonal(3), [("x", 0)], heads=20)])
    g = sb.random_element(turns, 0)["x|"]
    np.testing.assert_allclose(
        g @ np.swapaxes(g, -1, -2), np.broadcast_to(np.eye(3), g.shape), atol=1e-12
    )
    assert set(np.round(np.linalg.det(g))) == {-1.0, 1.0}
