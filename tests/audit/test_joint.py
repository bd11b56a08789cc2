"""Joint log volumes of coupled bonds, against the dense Gram of all of them."""

import itertools
from typing import Any

import numpy as np
import pytest

import symbias as sb
from symbias.audit import audit, joint
from symbias.audit.joint import coupling, sharing
from symbias.audit.page import audit_page
from symbias.audit.squares import Squares, compressed
from symbias.checkpoints.sources import Arrays
from symbias.models import Claim

D, R, HEADS = 10, 4, 2
INNER = HEADS * R
Sets = dict[str, tuple[list[sb.Bond], dict[str, tuple[int, ...]]]]

SETS: Sets = {
    "llama attention": (
        [
            sb.Bond(sb.ComplexScaling(R, "half"), [("q", 0)], [("k", 0)], heads=HEADS, name="qk"),
            sb.Bond(sb.GeneralLinear(R), [("v", 0)], [("o", 1)], heads=HEADS, name="vo"),
            sb.Bond(sb.Rescaling(D), [("gain", 0)], [(n, 1) for n in "qkv"], name="gain"),
        ],
        {"q": (2 * INNER, D), "k": (INNER, D), "v": (INNER, D), "o": (D, 2 * INNER), "gain": (D,)},
    ),
    "gpt2 attention": (
        [
            sb.Bond(sb.GeneralLinear(R), [("c", 1, np.r_[np.arange(INNER), [-1] * 2 * INNER])],
                    [("c", 1, np.r_[[-1] * INNER, np.arange(INNER), [-1] * INNER])],
                    heads=HEADS, name="qk"),
            sb.Bond(sb.GeneralLinear(R), [("c", 1, np.r_[[-1] * 2 * INNER, np.arange(INNER)])],
                    [("p", 0)], heads=HEADS, name="vo"),
            sb.Bond(sb.Rescaling(D), [("gain", 0), ("shift", 0)], [("c", 0)], name="gain"),
        ],
        {"c": (D, 3 * INNER), "p": (INNER, D), "gain": (D,), "shift": (D,)},
    ),
    "a shared key": (
        [
            sb.Bond(sb.GeneralLinear(R), [("q", 0)], [("k", 0)], heads=HEADS, name="qk"),
            sb.Bond(sb.Rescaling(D), [("gain", 0)], [("q", 1), ("k", 1)], name="gain"),
        ],
        {"q": (3 * INNER, D), "k": (INNER, D), "gain": (D,)},
    ),
    "units": (
        [
            sb.Bond(sb.Rescaling(7), [("up", 0)], [("down", 1)], name="units"),
            sb.Bond(sb.Rescaling(D), [("gain", 0)], [("up", 1), ("gate", 1)], name="gain"),
        ],
        {"up": (7, D), "gate": (7, D), "down": (D, 7), "gain": (D,)},
    ),
    "convolutions": (
        [
            sb.Bond(sb.Rescaling(4), [("a", 0)], [("b", 1)], name="one"),
            sb.Bond(sb.Rescaling(5), [("b", 0), ("bias", 0)], [("c", 1, np.arange(15) // 3)],
                    name="two"),
            sb.Bond(sb.Rescaling(6), [("c", 0)], [("d", 1)], name="three"),
        ],
        {"a": (4, 3, 2, 2), "b": (5, 4, 2, 2), "bias": (5,), "c": (6, 15), "d": (3, 6)},
    ),
}  # fmt: skip


def arrays(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    size = {"gain": 5.0, "shift": 3.0}  # so that norms of columns are not in the readers alone
    return {n: size.get(n, 1.0) * rng.standard_normal(s) for n, s in shapes.items()}


def whitened(bonds: list[sb.Bond], params: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    """``E``, and the log volumes alone, from the dense Gram."""
    gram = np.asarray(sb.gram(sb.Symmetry(bonds), params))
    ends = np.cumsum([0, *(bond.dim for bond in bonds)])
    root, alone = np.zeros_like(gram), 0.0
    for first, last in itertools.pairwise(ends):
        values, vectors = np.linalg.eigh(gram[first:last, first:last])
        root[first:last, first:last] = vectors / np.sqrt(values) @ vectors.T
        alone += float(np.sum(np.log(values))) / 2
    return root @ gram @ root - np.eye(len(gram)), alone


@pytest.mark.parametrize("name", SETS)
def test_the_coupling_and_the_bounds_are_those_of_the_dense_gram(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bonds, shapes = SETS[name]
    params = arrays(shapes)
    source, claims = Arrays(params), [Claim(bond, "given") for bond in bonds]
    blocks = {bond.name: compressed(bond, params) for bond in bonds}
    rest, alone = whitened(bonds, params)
    found = coupling(bonds, source, Squares(source, claims), blocks)
    assert found is not None
    rho, square = found
    assert square == pytest.approx(np.sum(rest**2), rel=1e-9)
    assert np.abs(np.linalg.eigvalsh(rest)).max() <= rho < 1
    joined = alone + np.linalg.slogdet(np.eye(len(rest)) + rest)[1] / 2
    (exact,) = audit(params, bonds=bonds).joint
    assert exact.exact
    assert exact.lower == exact.upper == pytest.approx(joined, rel=1e-9)
    monkeypatch.setattr(joint, "CHEAP", 0)
    result = audit(params, bonds=bonds)
    (bounded,) = result.joint
    assert not bounded.exact
    assert bounded.alone == pytest.approx(alone, rel=1e-9)
    assert bounded.lower is not None
    assert bounded.upper is not None
    assert bounded.lower <= joined <= bounded.upper < alone
    assert bounded.upper - bounded.lower < alone - bounded.lower  # of the loss, not only Fischer's
    total = result.summary()
    assert total["log_volume_lower"] == pytest.approx(bounded.lower)
    assert total["log_volume_upper"] == pytest.approx(bounded.upper)
    assert total["log_volume_alone"] == pytest.approx(alone)


def test_no_bound_where_directions_cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows times s and columns over s move nothing: the pseudo-determinant may exceed a product."""
    bonds = [sb.Bond(sb.Rescaling(3), [("w", 0)], name="rows"),
             sb.Bond(sb.Rescaling(2), [], [("w", 1)], name="columns")]  # fmt: skip
    params = {"w": np.array([[1.0, 2.0], [3.0, 1.0], [0.5, 2.0]])}
    values = np.linalg.eigvalsh(sb.gram(sb.Symmetry(bonds), params))
    assert values[0] < 1e-9
    (found,) = audit(params, bonds=bonds).joint
    assert found.lower == found.upper == pytest.approx(np.sum(np.log(values[1:])) / 2)
    monkeypatch.setattr(joint, "CHEAP", 0)
    result = audit(params, bonds=bonds)
    assert result.joint[0].lower is result.joint[0].upper is None
    assert result.summary()["log_volume_upper"] is None


@pytest.mark.parametrize(
    "other",
    [sb.Bond(sb.UniformScale(), [("w", None)], name="all"),
     sb.Bond(sb.Rescaling(3), [], [("w", 0)], name="same axis"),
     sb.Bond(sb.Translation(3), [("w", 0)], name="shift")],
    ids=lambda bond: bond.name,
)  # fmt: skip
def test_no_bound_for_what_is_not_known(monkeypatch: pytest.MonkeyPatch, other: Any) -> None:
    monkeypatch.setattr(joint, "CHEAP", 0)
    bonds = [sb.Bond(sb.Rescaling(3), [("w", 0)], [("u", 1)], name="rows"), other]
    (found,) = audit({"w": np.ones((3, 2)), "u": np.ones((4, 3))}, bonds=bonds).joint
    assert found.lower is found.upper is None


@pytest.mark.parametrize(("cheap", "said"), [(0.0, "bounds"), (1e9, "computed")])
def test_the_page_and_the_json_say_which(
    monkeypatch: pytest.MonkeyPatch, cheap: float, said: str
) -> None:
    monkeypatch.setattr(joint, "CHEAP", cheap)
    bonds, shapes = SETS["units"]
    steps: list[tuple[int, int]] = []
    found = audit(arrays(shapes), bonds=bonds, progress=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    (kept,) = found.to_dict()["joint"]
    assert kept["bonds"] == ("units", "gain")
    assert kept["exact"] is (said == "computed")
    page = audit_page(found, "")
    assert "Bonds that share arrays" in page
    assert f"<td>{said}</td>" in page


def test_bonds_that_share_no_array_add() -> None:
    bonds = [sb.Bond(sb.Rescaling(3), [(f"{i}", 0)], [(f"{i + 5}", 1)]) for i in range(3)]
    assert sharing(bonds) == []
    chain = [sb.Bond(sb.Rescaling(3), [(f"{i}", 0)], [(f"{i + 1}", 1)]) for i in (0, 2, 1, 5)]
    assert sharing(chain) == [tuple(chain[:3])]
    params = {f"{i}": np.full((3, 3), 1.0 + i) for i in range(8)}
    total = audit(params, bonds=bonds).summary()
    assert total["log_volume_lower"] == total["log_volume_upper"] == total["log_volume_alone"]
