"""Numbers of an audit in single precision, and from moments, against the float64 definition.

Each column's tolerance is the one that docs/audit.md states.
"""

import threading
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import symbias as sb
from symbias.audit import audit, balance_checkpoint, squares, threads
from symbias.audit.measure import measure
from symbias.audit.squares import compress
from symbias.checkpoints import precision
from symbias.models import Claim

KINDS = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
STORED = {"bfloat16": "BF16", "float16": "F16"}
HEADS, SIZE, WIDTH, UNITS = 3, 8, 40, 50

BONDS = [
    sb.Bond(sb.ComplexScaling(SIZE, "half"), [("q", 0)], [("k", 0)], heads=HEADS, name="logits"),
    sb.Bond(sb.GeneralLinear(SIZE), [("v", 0)], [("o", 1)], heads=HEADS, name="values"),
    sb.Bond(sb.Rescaling(UNITS), [("up", 0), ("bias", 0)], [("down", 1)], name="units"),
    sb.Bond(sb.Rescaling(WIDTH), [("gain", 0)], [("q", 1), ("k", 1), ("kernel", 1)], name="gain"),
]


def arrays(
    kind: str, size: float = 1.0, narrow: float = 0.0, decades: float = 4.0
) -> dict[str, Any]:
    """A layer whose columns span some decades; ``narrow`` makes two rows of each head alike."""
    rng = np.random.default_rng(0)
    inner = HEADS * SIZE
    shapes = {"q": (inner, WIDTH), "k": (inner, WIDTH), "v": (inner, WIDTH), "o": (WIDTH, inner),
              "up": (UNITS, WIDTH), "bias": (UNITS,), "down": (WIDTH, UNITS), "gain": (WIDTH,),
              "kernel": (5, WIDTH, 3)}  # fmt: skip
    found = {n: rng.standard_normal(s) * 10 ** (decades * rng.uniform(-0.5, 0.5, s[-1]))
             for n, s in shapes.items()}  # fmt: skip
    if narrow:
        found["v"][1::SIZE] = found["v"][::SIZE] + narrow * found["v"][1::SIZE]
        found["o"][:, 1::SIZE] = found["o"][:, ::SIZE] + narrow * found["o"][:, 1::SIZE]
    return {name: (size * a).astype(KINDS[kind]) for name, a in found.items()}


def in_doubles(stored: dict[str, Any]) -> dict[str, Any]:
    return {name: a.astype(np.float64) for name, a in stored.items()}


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("narrow", [0.0, 0.02])
@pytest.mark.parametrize(
    ("kind", "size"), [("bfloat16", 1), ("bfloat16", 1e-24), ("bfloat16", 1e19), ("float16", 1)]
)
def test_every_column_is_that_of_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: float, narrow: float,
    pieces: bool,
) -> None:  # fmt: skip
    if pieces:  # many blocks of rows, and sums of pieces of each row
        monkeypatch.setattr(squares, "CACHED", 90)
        monkeypatch.setattr(squares, "PIECE", 2)
    stored = arrays(kind, size, narrow)
    save_file(stored, tmp_path / "m.safetensors")
    rows = audit(tmp_path / "m.safetensors", bonds=BONDS).rows
    exact = in_doubles(stored)
    shapes = {name: a.shape for name, a in stored.items()}
    grain = precision(STORED[kind])
    wanted = [
        row
        for bond in BONDS
        for row in measure(Claim(bond, "given"), *bond.blocks(np, exact), shapes, grain)[0]
    ]
    assert len(rows) == len(wanted) == 2 * HEADS + 2
    for row, want in zip(rows, wanted, strict=True):
        for name in ("bond", "head", "stabilizers", "dead", "rank", "dimension", "numbers"):
            assert getattr(row, name) == getattr(want, name), name
        assert row.norm == pytest.approx(want.norm, rel=1e-6)
        assert row.least_norm == pytest.approx(want.least_norm, rel=1e-6)
        assert row.imbalance == pytest.approx(want.imbalance, abs=1e-6)
        assert row.condition == pytest.approx(want.condition, rel=1e-6)
        assert row.log_volume == pytest.approx(want.log_volume, abs=1e-6 * row.dimension)


def test_one_dead_unit_and_one_tiny_one(tmp_path: Path) -> None:
    """Squares below 1e-45 are zero in single precision; the unit is not dead."""
    stored = arrays("bfloat16")
    for name, axis in (("up", 0), ("bias", 0), ("down", 1)):
        index: Any = [slice(None)] * stored[name].ndim
        index[axis] = 7
        stored[name][tuple(index)] *= ml_dtypes.bfloat16(1e-25)
    stored["down"][:, 9] = 0
    save_file(stored, tmp_path / "m.safetensors")
    (row,) = audit(tmp_path / "m.safetensors", bonds=[BONDS[2]]).rows
    exact = in_doubles(stored)
    spectrum, _ = BONDS[2].group.spectrum(np, *BONDS[2].blocks(np, exact))
    assert row.dead == 1
    assert row.condition == pytest.approx(np.sqrt(spectrum.max() / spectrum.min()), rel=1e-6)
    assert row.condition > 1e20


@pytest.mark.parametrize("least", [1e-1, 1e-3, 1e-5, 1e-9, 0.0])
def test_singular_values_by_moments_or_by_triangles(least: float) -> None:
    """Relative errors of 1e-7 while the Cholesky factor is taken, of QR's own from there on."""
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.standard_normal((n, 8)))[0] for n in (8, 300))
    values = np.geomspace(1, least, 8) if least else np.r_[np.geomspace(1, 1e-2, 7), 0]
    found = np.linalg.svdvals(compress(((u * values) @ v.T)[None], sb.GeneralLinear(8)))[0]
    assert np.allclose(found, values, rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_balanced_copy_is_that_of_doubles_rounded_once(tmp_path: Path, kind: str) -> None:
    stored = arrays(kind, decades=1)
    save_file(stored, tmp_path / "m.safetensors")
    result = balance_checkpoint(tmp_path / "m.safetensors", tmp_path / "n.safetensors",
                                bonds=BONDS[:3])  # fmt: skip
    moved = in_doubles(stored)
    for bond in BONDS[:3]:
        moved = sb.balance(sb.Symmetry([bond]), moved).params
    written = load_file(tmp_path / "n.safetensors")
    assert set(result.changed) == {"q", "k", "v", "o", "up", "bias", "down"}
    for name, a in written.items():
        want = moved[name].astype(KINDS[kind]).astype(np.float64)
        off = np.abs(a.astype(np.float64) - want)
        tiny = float(ml_dtypes.finfo(KINDS[kind]).smallest_subnormal)
        assert np.all(off <= precision(STORED[kind]) * np.abs(want) + tiny)  # a unit in the last
        assert np.mean(off > 0) < 0.01  # place, where rounding was a tie but for 1e-7


def test_threads_keep_the_order_and_read_no_further_than_they_must() -> None:
    taken: list[int] = []
    lock, running, most = threading.Lock(), [0], [0]

    def items() -> Any:
        for i in range(40):
            taken.append(i)
            yield i

    def square(i: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        sum(range(5000 * (i % 3)))
        with lock:
            running[0] -= 1
        return i * i

    for done, value in enumerate(threads.in_threads(square, items())):
        assert value == done * done
        assert len(taken) <= done + threads.MOST + 2
    assert done == 39
    assert most[0] <= threads.MOST


def test_an_error_in_a_thread_is_raised_and_ends_the_others() -> None:
    def fails(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        return i

    found = threads.in_threads(fails, range(1000))
    with pytest.raises(ValueError, match="three"):
        list(found)
    assert threading.active_count() < 3 + threads.MOST
