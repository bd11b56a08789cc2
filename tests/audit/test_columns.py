"""The advice on each column of an audit: one wording, in the library and in the documentation."""

from pathlib import Path

import numpy as np
import pytest

import symbias as sb
from symbias.audit import audit
from symbias.audit.advice import tasks
from symbias.audit.columns import COLUMNS
from symbias.audit.measure import Row

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def test_there_is_advice_on_every_number_of_a_row() -> None:
    fields = set(Row.__dataclass_fields__) - {"movable", "note", "thin", "truncatable", "size"}
    assert {name.replace(" ", "_") for name in COLUMNS} == fields


@pytest.mark.skipif(not PAGE.exists(), reason="installed without the documentation")
def test_the_documentation_says_the_same() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    said = {r[0]: (r[1], r[3]) for r in rows if r[0] in COLUMNS and len(r) > 3}
    assert list(said) == list(COLUMNS)
    for name, (meaning, advice) in COLUMNS.items():
        assert said[name][0].startswith(meaning)
        assert said[name][1].startswith(advice)


def product(scale: float, side: str) -> Row:
    """A row of P Q of inner size 6, two dimensions of which are scaled on the named sides."""
    rng = np.random.default_rng(0)
    arrays = {"P": rng.normal(size=(9, 6)), "Q": rng.normal(size=(6, 8))}
    for name in side:
        np.moveaxis(arrays[name], 1 if name == "P" else 0, 0)[:2] *= scale
    bond = sb.Bond(sb.GeneralLinear(6), [("Q", 0)], [("P", 1)], name="b")
    return audit(arrays, bonds=[bond]).rows[0]


def test_the_advice_tells_what_is_dead_from_what_is_nearly_so() -> None:
    assert (product(1, "P").dead, product(1, "P").stabilizers) == (0, 0)
    assert (product(0, "P").dead, product(0, "P").stabilizers) == (2, 0)
    assert (product(0, "PQ").dead, product(0, "PQ").stabilizers) == (2, 4)
    near = product(1e-5, "PQ")
    assert (near.dead, near.stabilizers) == (0, 0)
    assert near.condition > 1e4 > 10 > product(1, "P").condition


def test_an_imbalance_is_what_balancing_takes_away_and_the_least_norm_what_it_keeps() -> None:
    rng = np.random.default_rng(1)
    arrays = {"P": rng.normal(size=(9, 6)), "Q": 3 * rng.normal(size=(6, 8))}
    bond = sb.Bond(sb.GeneralLinear(6), [("Q", 0)], [("P", 1)], name="b")
    before = audit(arrays, bonds=[bond]).rows[0]
    after = audit(sb.balance(sb.Symmetry([bond]), arrays).params, bonds=[bond]).rows[0]
    assert before.imbalance is not None
    assert after.imbalance is not None
    assert before.imbalance > 0.3 > 1e-8 > after.imbalance
    assert after.least_norm == pytest.approx(before.least_norm)
    assert after.norm == pytest.approx(before.least_norm)
    nuclear = np.linalg.svd(arrays["P"] @ arrays["Q"], compute_uv=False).sum()
    assert before.least_norm == pytest.approx(nuclear)


def test_a_shift_between_two_biases_is_nothing_to_remove() -> None:
    """Both biases add to one stream: a direction that nothing reads, but no dimension is zero."""
    bond = sb.Bond(sb.Translation(4), [("a", 0)], [("b", 0)], name="a - b")
    (row,) = audit({"a": np.ones(4), "b": np.ones(4)}, bonds=[bond]).rows
    assert row.dead is None
    assert tasks([row]) == []
