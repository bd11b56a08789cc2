"""The check of a rewritten checkpoint, against its dense definition; the residual stream's row."""

from typing import Any

import numpy as np
import pytest

import symbias as sb
from symbias.audit import residual
from symbias.audit.invariants import WORK, deviation
from symbias.checkpoints.sources import Arrays
from symbias.models.claims import Stream

R, K = 4, 7
GROUPS = [sb.GeneralLinear(R), sb.Rescaling(R, signed=True), sb.ComplexScaling(R, "half"),
          sb.ComplexScaling(R)]  # fmt: skip


def pair(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)  # two query heads share a key head, twice
    return {"q": rng.standard_normal((4 * R, K)), "k": rng.standard_normal((2 * R, K))}


def bond_of(group: Any) -> sb.Bond:
    return sb.Bond(group, [("q", 0)], [("k", 0)], heads=2, name="qk")


def invariants(group: Any, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What logits are made of, for each key head: products, of units or of planes."""
    found = []
    for head in range(2):
        queries = [arrays["q"][(2 * head + c) * R :][:R] for c in range(2)]
        x, y = np.concatenate(queries, axis=1), arrays["k"][head * R :][:R]
        if isinstance(group, sb.GeneralLinear):
            found.append(x.T @ y)
        elif isinstance(group, sb.Rescaling):
            found += [np.outer(x[i], y[i]) for i in range(R)]
        else:
            for a, b in group.planes:  # the scalar product and the cross product of the planes
                found.append(np.outer(x[a], y[a]) + np.outer(x[b], y[b]))
                found.append(np.outer(x[a], y[b]) - np.outer(x[b], y[a]))
    return found


@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_the_group_passes_and_nothing_else(group: Any) -> None:
    arrays, bond = pair(), bond_of(group)
    symmetry = sb.Symmetry([bond])
    moved = sb.act(symmetry, sb.random_element(symmetry, 0), arrays)
    for old, new in zip(invariants(group, arrays), invariants(group, moved), strict=True):
        assert np.allclose(old, new, rtol=1e-10)
    assert deviation(bond, arrays, moved, 1e-14) <= 1
    moved["k"] = moved["k"] * (1 + 1e-10)
    assert deviation(bond, arrays, moved, 1e-14) > 1
    larger = pair()
    element = sb.GeneralLinear(R).random(np.random.default_rng(1), 2, 0.5)
    if not isinstance(group, sb.GeneralLinear):  # an element of a larger group
        other = sb.Symmetry([bond_of(sb.GeneralLinear(R))])
        assert deviation(bond, larger, sb.act(other, {"qk": element}, larger), 1e-6) > 1


@pytest.mark.parametrize("eps", [1e-3, 1e-6])  # by moments, by triangles
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("group", GROUPS, ids=repr)
def test_it_is_the_frobenius_norm_of_the_change(group: Any, axis: int, eps: float) -> None:
    old = pair()
    new = {name: a + eps * pair(1)[name] for name, a in old.items()}
    bond = sb.Bond(group, [("q", 0)], [("k", axis)], heads=2, name="qk")
    turned = [{"q": p["q"], "k": p["k"].T if axis else p["k"]} for p in (old, new)]
    found = deviation(bond, *turned, eps)
    if eps == 1e-3:  # in single precision
        rounded = [{name: a.astype(np.float32) for name, a in p.items()} for p in turned]
        assert deviation(bond, *rounded, eps) == pytest.approx(found, rel=1e-3)
    changes = [b - a for a, b in zip(invariants(group, old), invariants(group, new), strict=True)]
    one, two = (bond_of(group).blocks(np, p) for p in (old, new))
    worst = 0.0
    for head in range(2):
        if isinstance(group, sb.GeneralLinear):
            parts, size = [(slice(None), [changes[head]])], 1
        elif isinstance(group, sb.Rescaling):
            size = R
            parts = [([i], [changes[head * size + i]]) for i in range(size)]
        else:
            size = R // 2
            parts = [(list(group.planes[i]), changes[2 * (head * size + i) :][:2])
                     for i in range(size)]  # fmt: skip
        for rows, change in parts:
            x, y, x2, y2 = (np.linalg.norm(b[head][rows]) for b in (*one, *two))
            bound = 2 * eps * x2 * y2 + WORK * x * y
            worst = max(worst, np.sqrt(sum(np.sum(c**2) for c in change)) / bound)
    assert found == pytest.approx(worst, rel=1e-7)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("rank", [3, 8])
def test_the_stream_counts_what_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, large: bool, rank: int
) -> None:
    """Eight channels of which some carry nothing, in single and in double precision."""
    if large:
        monkeypatch.setattr(residual, "LARGE", 4)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((8, 8)))[0][:rank]
    arrays = {"r": rng.standard_normal((20, rank)) @ basis,
              "w": basis.T @ rng.standard_normal((rank, 11)),
              "e": rng.standard_normal((30, rank)) @ basis}  # fmt: skip
    stream = Stream(8, (("r", None),), (("w", 0), ("e", 1)))
    row, spectrum = residual.measure_stream(stream, Arrays(arrays))
    symmetry = sb.Symmetry([sb.Bond(sb.Orthogonal(8), [("r", 1), ("w", 0), ("e", 1)])])
    wanted = sb.volume(symmetry, arrays)
    assert row.dimension == symmetry.dim == 28
    assert row.stabilizers == int(wanted.stabilizers) == (8 - rank) * (7 - rank) // 2
    tolerance = 1e-5 if large else 1e-10
    assert row.log_volume == pytest.approx(float(wanted.log_volume), rel=tolerance)
    values = np.linalg.eigvalsh(sb.gram(symmetry, arrays))
    live = values[values > 1e-9 * values[-1]]
    assert row.condition == pytest.approx(np.sqrt(live[-1] / live[0]), rel=tolerance)
    stacked = np.concatenate([arrays["r"].T, arrays["w"], arrays["e"].T], axis=1)
    wanted_spectrum = np.linalg.svd(stacked, compute_uv=False)[:rank]
    assert np.allclose(spectrum[0][:rank], wanted_spectrum, rtol=tolerance)
