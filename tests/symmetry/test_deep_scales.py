"""Scales alone, of predictors too large for the whole search, beside bonds that are known."""

from typing import Any

import jax.numpy as jnp
import pytest

import symbias as sb
from symbias.symmetry.discovery import search_scales
from symbias.symmetry.discovery.draws import TracedDraws
from tests.symmetry.architectures import layers, normal
from tests.symmetry.backends import backend

WIDTHS = [3, 4, 5, 2]


def relu(x: Any) -> Any:
    return jnp.maximum(x, 0)


def draws(predict: Any, shapes: Any, inputs: Any) -> TracedDraws:
    return TracedDraws(predict, shapes, inputs, seed=0)


def first(size: int) -> sb.Bond:
    return sb.Bond(sb.Rescaling(size), [("W0", 0), ("b0", 0)], [("W1", 1)])


def test_all_scales_are_found_and_those_of_known_bonds_are_not_repeated() -> None:
    predict, shapes, inputs = layers(WIDTHS, relu, biases=True)
    alone = search_scales(draws(predict, shapes, inputs), [])
    assert (alone.dim, alone.unnamed) == (9, 0)
    assert sorted(bond.dim for bond in alone.bonds) == [4, 5]
    beside = search_scales(draws(predict, shapes, inputs), [first(4)])
    assert (beside.dim, beside.unnamed) == (9, 0)
    (bond,) = beside.bonds
    assert {(e.name, e.axis, e.dual) for e in bond.ends} == {
        ("W1", 0, False), ("b1", 0, False), ("W2", 1, True),
    }  # fmt: skip


def test_a_known_group_of_matrices_holds_its_scales() -> None:
    predict, shapes, inputs = layers([3, 2, 3, 2], lambda x: x, biases=False)
    known = [
        sb.Bond(sb.GeneralLinear(2), [("W0", 0)], [("W1", 1)]),
        sb.Bond(sb.GeneralLinear(3), [("W1", 0)], [("W2", 1)]),
    ]
    assert search_scales(draws(predict, shapes, inputs), known)[:2] == ([], 5)
    assert search_scales(draws(predict, shapes, inputs), known[:1]).bonds[0].dim == 3


def test_a_wrong_bond_holds_nothing() -> None:
    """One that moves the same arrays another way: all nine scales are found beside it."""
    predict, shapes, inputs = layers(WIDTHS, relu, biases=True)
    wrong = sb.Bond(sb.Rescaling(4), [("W0", 0)], [("W1", 1)])
    found = search_scales(draws(predict, shapes, inputs), [wrong])
    assert sum(bond.dim for bond in found.bonds) == found.dim == 9


def test_nothing_is_found_where_nothing_is() -> None:
    predict, shapes, inputs = layers(WIDTHS, jnp.tanh, biases=True)
    assert search_scales(draws(predict, shapes, inputs), []) == ([], 0, 0)


def test_what_nothing_reads_is_no_scale() -> None:
    predict, shapes, inputs = layers(WIDTHS, relu, biases=True)
    found = search_scales(draws(predict, shapes | {"unread": (3,)}, inputs), [first(4)])
    assert (found.dim, len(found.bonds)) == (9, 1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mean_over_one_axis_is_named_whatever_it_is_on_the_others(axis: int) -> None:
    shape = (4, 3, 2)

    def predict(p: Any, x: Any) -> Any:
        w = p["w"] - jnp.mean(p["w"], axis=axis, keepdims=True)
        return x @ jnp.tanh(w).reshape(-1)

    found = sb.discover(predict, {"w": shape}, normal(30, 24))
    assert not found.unnamed_shifts
    (bond,) = found.symmetry
    assert bond.group == sb.Translation(24 // shape[axis])
    with backend("jax") as make:
        given = make({"w": normal(*shape), "x": normal(30, 24)})
        params = {"w": given["w"]}
        assert sb.check_invariance(predict, found.symmetry, params, given["x"], seed=1) < 1e-12
