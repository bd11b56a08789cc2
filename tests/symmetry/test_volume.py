"""Gram, log volume and their shortcuts against the definition, on every backend."""

import numpy as np
import pytest
import torch

import symbias as sb
from symbias.symmetry import volumes
from tests.symmetry.backends import BACKENDS, backend, host
from tests.symmetry.cases import (
    CASES,
    COUPLED,
    PAIRS,
    definition,
    hadamard_chain,
    log_pdet,
    normal,
    product,
)


@pytest.mark.parametrize("name", CASES)
def test_gram_is_its_definition(name: str) -> None:
    sym, params = CASES[name]()
    generators = definition(sym, params)
    assert generators.shape[0] == sym.dim
    np.testing.assert_allclose(sb.gram(sym, params), generators @ generators.T, atol=1e-12)


LONG = [(name, "jax") for name in ("deep_linear", "shared_heads")]


@pytest.mark.parametrize(
    ("name", "library"),
    [pytest.param(*pair, marks=[pytest.mark.slow] * (pair in LONG)) for pair in PAIRS],
)
def test_log_volume_is_its_definition(name: str, library: str) -> None:
    sym, params = CASES[name]()
    expected, stabilizers = log_pdet(definition(sym, params))
    with backend(library) as make:
        found = sb.volume(sym, make(params))
        value = sb.log_volume(sym, make(params))
        array = np.generic if library == "numpy" else type(make(params)[sym.arrays[0]])
        assert isinstance(value, array)
        assert value.shape == ()
    assert float(found.log_volume) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert float(value) == float(found.log_volume)
    assert int(found.stabilizers) == stabilizers
    assert found.standard_error == 0


@pytest.mark.parametrize("name", CASES)
def test_dense_path(name: str) -> None:
    sym, params = CASES[name]()
    expected, stabilizers = log_pdet(definition(sym, params))
    found = sb.volume(sym, params, method="dense")
    assert float(found.log_volume) == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert int(found.stabilizers) == stabilizers


@pytest.mark.parametrize("name", COUPLED)
def test_stochastic_path(name: str) -> None:
    """Within three standard errors; Student's t with 31 degrees: false alarm 0.5% per case.

    Seeds are fixed, so the suite either always passes or never does.
    """
    sym, params = CASES[name]()
    expected, stabilizers = log_pdet(definition(sym, params))
    found = sb.volume(sym, params, method="lanczos", seed=1)
    assert abs(float(found.log_volume) - expected) <= 3 * found.standard_error + 1e-9
    assert int(found.stabilizers) == stabilizers


def test_methods_are_named() -> None:
    methods = {
        "heads": ["closed", "closed", "closed"],
        "hadamard_deep": ["aligned"],
        "relu_four": ["elimination"],
        "deep_linear": ["dense"],
        "recurrent_linear": ["dense"],
        "normalised_channels": ["closed", "dense"],
    }
    for name, expected in methods.items():
        components = sb.volume(*CASES[name]()).components
        assert [part.method for part in components] == expected
        assert {b for part in components for b in part.bonds} == {
            bond.name for bond in CASES[name]()[0]
        }
    with pytest.raises(ValueError, match="method must be"):
        sb.volume(*CASES["heads"](), method="fast")  # type: ignore[arg-type]


def test_large_coupled_bonds_take_lanczos(monkeypatch: pytest.MonkeyPatch) -> None:
    sym, params = CASES["deep_linear_four"]()
    exact = sb.volume(sym, params)
    monkeypatch.setattr(volumes, "DENSE_COST", 10)
    found = sb.volume(sym, params, probes=64)
    assert [part.method for part in found.components] == ["lanczos"]
    assert 0 < found.standard_error < 0.6
    assert abs(found.log_volume - exact.log_volume) <= 3 * found.standard_error


def test_own_gram_removes_the_variance_of_one_bond() -> None:
    sym, params = CASES["product_tall"]()
    found = sb.volume(sym, params, method="lanczos", probes=4)
    assert found.standard_error < 1e-12


def test_island_counts_once_and_with_its_size() -> None:
    """Two layers of one unit each, tied only to each other: pdet of [[w, -w], [-w, w]] is 2w."""
    sym = sb.Symmetry(
        [
            sb.Bond(sb.Rescaling(1), [("A", 0)], [("B", 1)]),
            sb.Bond(sb.Rescaling(1), [("B", 0)], [("C", 1)]),
        ]
    )
    params = {"A": np.zeros((1, 2)), "B": np.full((1, 1), 3.0), "C": np.zeros((2, 1))}
    found = sb.volume(sym, params)
    assert found.log_volume == pytest.approx(np.log(2 * 9) / 2, rel=1e-12)
    assert int(found.stabilizers) == 1


def test_scaling_laws() -> None:
    """Scaling all parameters by c shifts the log volume by (dim - stabilizers) log c."""
    for name in ("product_wide_null", "relu_four", "residual_stream", "ring"):
        sym, params = CASES[name]()
        sym = sb.Symmetry(bond for bond in sym if bond.group.linear)
        base = sb.volume(sym, params)
        scaled = sb.volume(sym, {k: 3 * v for k, v in params.items()})
        moves = sym.dim - int(base.stabilizers)
        shift = scaled.log_volume - base.log_volume
        assert shift == pytest.approx(moves * np.log(3), rel=1e-12)


def test_float32_keeps_small_singular_values() -> None:
    """At factor condition 1e4 the spectrum of the Gram in float32 would be off by tens."""
    params = normal(P=(40, 8), Q=(8, 40))
    spread = 10.0 ** -np.linspace(0, 4, 8)
    params = {"P": params["P"] * spread, "Q": spread[:, None] * params["Q"]}
    exact = sb.log_volume(product(8), params)
    single = sb.log_volume(product(8), {k: v.astype(np.float32) for k, v in params.items()})
    assert abs(single - exact) < 1e-3


@pytest.mark.parametrize("library", BACKENDS)
@pytest.mark.parametrize("grounding", [1e-2, 1e-5, 1e-7])
def test_nearly_floating_chain(grounding: float, library: str) -> None:
    """[[1 + e^2, -1], [-1, 1 + e^2]] has determinant 2 e^2 + e^4, which pivots would lose."""
    sym = sb.Symmetry(
        [
            sb.Bond(sb.Rescaling(1), [("A", 0)], [("B", 1)]),
            sb.Bond(sb.Rescaling(1), [("B", 0)], [("C", 1)]),
        ]
    )
    e = np.full((1, 1), grounding)
    with backend(library) as make:
        found = float(sb.log_volume(sym, make({"A": e, "B": np.ones((1, 1)), "C": e})))
    assert found == pytest.approx(np.log(2 * grounding**2 + grounding**4) / 2, rel=1e-9)


def test_nan_is_not_taken_for_zero() -> None:
    sym, params = CASES["hadamard"]()
    params["u"][0, 0] = np.nan
    assert np.isnan(sb.log_volume(sym, params))


def test_long_chains_of_products_are_cheap() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    params = {f"u{i}": rng.standard_normal(n) for i in range(3)}
    found = sb.volume(hadamard_chain(3, n), params)
    a, b, c = (params[f"u{i}"] ** 2 for i in range(3))
    expected = np.sum(np.log(a * b + b * c + a * c)) / 2
    assert float(found.log_volume) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype: torch.dtype) -> None:
    sym, params = CASES["heads"]()
    half = {k: torch.as_tensor(v).to(dtype) for k, v in params.items()}
    exact = {k: v.double() for k, v in half.items()}
    for function in (sb.log_volume, sb.induced_norm):
        value = function(sym, half)
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(float(function(sym, exact)), rel=1e-5)


def test_no_bonds() -> None:
    empty = sb.Symmetry([])
    assert empty.dim == 0
    assert float(sb.log_volume(empty, {"w": np.ones(3)})) == 0


def test_scalar_backends_agree_with_host() -> None:
    sym, params = CASES["conv"]()
    with backend("torch") as make:
        assert host(sb.gram(sym, make(params))) == pytest.approx(sb.gram(sym, params), rel=1e-12)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_entries_that_one_bond_leaves_out_count_for_the_other(axes: tuple[int, int]) -> None:
    """A gate beside the units in one array, and columns that no gain scales."""
    rows, columns = axes
    bonds = [
        sb.Bond(sb.Rescaling(3), [("w", rows, [-1, 0, 1, -1, 2, 0])], [("down", 1)], name="units"),
        sb.Bond(sb.Rescaling(2), [("gain", 0)], [("w", columns, [1, -1, 0, 1])], name="gain"),
    ]
    rng = np.random.default_rng(0)
    w = rng.normal(size=(6, 4))
    params = {"w": w if rows == 0 else w.T, "down": rng.normal(size=(4, 3)),
              "gain": rng.normal(size=2)}  # fmt: skip
    symmetry = sb.Symmetry(bonds)
    found = sb.volume(symmetry, params)
    assert found.components[0].method == "elimination"
    dense = np.linalg.slogdet(sb.gram(symmetry, params))[1] / 2
    assert float(found.log_volume) == pytest.approx(dense, rel=1e-12)
    moved = sb.balance(symmetry, params).params
    left = [np.max(np.abs(np.asarray(q))) for q in sb.charges(symmetry, moved).values()]
    assert max(left) < 1e-9
