"""Damaged checkpoints: always one line, never a traceback, never a file outside the output."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from typer.testing import CliRunner

from symbias.audit import CheckpointError, audit, open_checkpoint
from symbias.cli import app

ATTENTION = "encoder.layer.0.attention"
FUZZ = settings(max_examples=60, deadline=None, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))  # fmt: skip
INDEX = "model.safetensors.index.json"


def whole(folder: Path) -> None:
    """One layer of BERT in two shards."""
    rng = np.random.default_rng(0)
    parts = ("self.query", "self.key", "self.value", "output.dense")
    arrays = {f"{ATTENTION}.{p}.weight": rng.standard_normal((4, 4), np.float32) for p in parts}
    names = list(arrays)
    folder.mkdir(parents=True)
    for k, part in enumerate((names[:2], names[2:])):
        save_file({n: arrays[n] for n in part}, folder / f"{k}.safetensors", {"format": "pt"})
    where = {n: f"{i // 2}.safetensors" for i, n in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (folder / "config.json").write_text('{"model_type": "bert", "num_attention_heads": 2}')


def listing(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in root.rglob("*")}


def run_all(root: Path, *options: str, page: bool = False) -> list[str]:
    """Audit and balance the model; returns what was said, after checking how it was said."""
    before, said = listing(root), []
    for command in (
        ["audit", str(root / "model"), *(["--out", str(root / "out" / "page")] if page else []),
         "--json"],
        ["balance", str(root / "model"), "--out", str(root / "out" / "new"), "--json"],
    ):  # fmt: skip
        result = CliRunner().invoke(app, [*command, *options])
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.exit_code in (0, 2)
        if result.exit_code:
            assert result.stderr.startswith("symbias: error: ")
            assert result.stderr.count("\n") == 1
            assert len(result.stderr) < 2000
            assert result.stdout == ""
            said.append(result.stderr)
    after = listing(root)
    inside = str(root / "out")
    assert {k: v for k, v in after.items() if not k.startswith(inside)} == before
    assert not [name for name in after if name.endswith(".partial")]
    shutil.rmtree(root / "out", ignore_errors=True)
    return said


@pytest.fixture
def root(tmp_path: Path) -> Path:
    whole(tmp_path / "model")
    return tmp_path


def fresh(root: Path) -> Path:
    shutil.rmtree(root / "model", ignore_errors=True)
    whole(root / "model")
    return root / "model"


def test_the_whole_one_passes(root: Path) -> None:
    assert run_all(root, page=True) == []


@FUZZ
@given(st.data())
def test_bytes(root: Path, data: st.DataObject) -> None:
    model = fresh(root)
    file = model / data.draw(st.sampled_from(["0.safetensors", "1.safetensors", INDEX,
                                              "config.json"]))  # fmt: skip
    content = bytearray(file.read_bytes())
    how = data.draw(st.sampled_from(["cut", "flip", "insert", "length", "junk"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if how == "cut":
        del content[place:]
    elif how == "flip":
        content[place] ^= data.draw(st.integers(1, 255))
    elif how == "insert":
        content[place:place] = data.draw(st.binary(min_size=1, max_size=20))
    elif how == "length":
        content[:8] = struct.pack("<Q", data.draw(st.integers(0, 2**64 - 1)))
    else:
        content = bytearray(data.draw(st.binary(max_size=100)))
    file.write_bytes(bytes(content))
    run_all(root)


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(),
                    st.text(max_size=8), st.sampled_from(["F64", "I8", "F4", "\x1b[2J"])
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=3), v, max_size=3),
    max_leaves=6,
)  # fmt: skip


@FUZZ
@given(st.data())
def test_headers(root: Path, data: st.DataObject) -> None:
    model = fresh(root)
    file = model / "0.safetensors"
    raw = file.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    name = data.draw(st.sampled_from(list(header)))
    if isinstance(header[name], dict) and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", "more"]))
        header[name][key] = data.draw(VALUES)
    elif data.draw(st.booleans()):
        header[data.draw(st.text(max_size=6))] = header.pop(name)
    else:
        header[name] = data.draw(VALUES)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    run_all(root)


@FUZZ
@given(st.data())
def test_config_and_index(root: Path, data: st.DataObject) -> None:
    model = fresh(root)
    if data.draw(st.booleans()):
        config: Any = {"model_type": "bert", "num_attention_heads": 2}
        keys = ["model_type", "num_attention_heads", "hidden_act", "position_embedding_type"]
        config[data.draw(st.sampled_from(keys))] = data.draw(VALUES)
        (model / "config.json").write_text(json.dumps(config))
    else:
        index = json.loads((model / INDEX).read_text())
        name = data.draw(st.sampled_from(list(index["weight_map"])))
        index["weight_map"][name] = data.draw(VALUES)
        if data.draw(st.booleans()):
            index["weight_map"] = data.draw(VALUES)
        (model / INDEX).write_text(json.dumps(index))
    run_all(root)


ENDS = st.lists(
    st.tuples(
        st.sampled_from([f"{ATTENTION}.self.query.weight", f"{ATTENTION}.self.key.weight", "nope"]),
        st.one_of(st.none(), st.integers(-2, 3), st.just(2**80)),
    ).map(list) | VALUES,
    max_size=3,
)  # fmt: skip
BONDS = st.fixed_dictionaries(
    {"group": st.sampled_from(
        ["GeneralLinear(4)", "GeneralLinear(2)", "Rescaling(4)", "Orthogonal(1)", "Orthogonal(4)",
         "ComplexScaling(4)", "ComplexScaling(3)", "UniformScale", "Translation(4)",
         "GeneralLinear(9999999)", "GeneralLinear(99999999999999)"]) | VALUES},
    optional={"vectors": ENDS, "covectors": ENDS, "heads": st.integers(-1, 4) | VALUES,
              "name": st.text(max_size=5) | VALUES, "repeat": st.integers(0, 3) | VALUES,
              "movable": VALUES, "kind": VALUES},
)  # fmt: skip


@FUZZ
@given(st.one_of(
    st.lists(BONDS, min_size=1, max_size=2).map(lambda b: json.dumps({"bonds": b})),
    st.binary(max_size=60),
    st.sampled_from(["", "bonds: [" * 3000, "a: &a [*a]", "bonds: &b [*b]", "bonds: !!python/x 1",
                     "bonds: {? {} : 1}", "? [a] : b", "bonds: 2001-99-99", "\x00", "bonds: [~]",
                     "a: !!int x", "a: !!float x", "bonds: !!binary =", "<<: 1",
                     "bonds: !!bool x"]),
))  # fmt: skip
def test_yaml(root: Path, text: str | bytes) -> None:
    bonds = root / "bonds.yaml"
    bonds.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    run_all(root, "--bonds", str(bonds))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=64))
@example(100_000_001, b"")
@FUZZ
def test_a_file_alone(root: Path, length: int, rest: bytes) -> None:
    shutil.rmtree(root / "model", ignore_errors=True)
    (root / "model").unlink(missing_ok=True)
    (root / "model").write_bytes(struct.pack("<Q", length) + rest)
    assert len(run_all(root)) == 2
    (root / "model").unlink()


def header_of(arrays: Any, data: bytes = b"", text: str | None = None) -> bytes:
    written = (text if text is not None else json.dumps(arrays)).encode()
    return struct.pack("<Q", len(written)) + written + data


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
A = json.dumps(GOOD)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "truncated"),
        (b"\x00" * 8, "not valid JSON"),
        (header_of({"a": GOOD}, b"\x00" * 7), "truncated"),
        (header_of({"a": GOOD}, b"\x00" * 9), "1 bytes belong to no array"),
        (header_of({"a": GOOD | {"dtype": "F16"}}, b"\x00" * 8), "does not fill its bytes"),
        (header_of({"a": GOOD | {"dtype": "Q3"}}, b"\x00" * 8), "unknown dtype 'Q3'"),
        (header_of({"a": GOOD | {"shape": [-2]}}, b"\x00" * 8), "not a list of sizes"),
        (header_of({"a": GOOD | {"shape": [True, 2]}}, b"\x00" * 8), "not a list of sizes"),
        (header_of({"a": GOOD | {"shape": [2**61, 2**61]}}, b"\x00" * 8), "does not fill"),
        (header_of({"a": GOOD, "b": GOOD}, b"\x00" * 8), "overlaps another"),
        (header_of({"a": GOOD | {"data_offsets": [8, 16]}}, b"\x00" * 16), "leaves a gap"),
        (header_of({}, b"\x00" * 8, text=f'{{"a": {A}, "a": {A}}}'), "'a' occurs twice"),
        (header_of({"a\nb": GOOD}, b"\x00" * 8), "not a name"),
        (header_of({"a": GOOD, "__metadata__": {"x": 1}}, b"\x00" * 8), "metadata"),
        (header_of({}, b"", text="[" * 100_000), "not valid JSON"),
        (header_of({}, b"", text="9" * 5000), "not valid JSON"),
        (header_of({}), "holds no arrays"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=what):
        open_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "file", ["../0.safetensors", "/etc/passwd", "a/../0.safetensors", "..", "0.safetensors\x00",
             "C:\\0.safetensors", "", ".hidden.safetensors", 7, None, ["0.safetensors"]]
)  # fmt: skip
def test_an_index_names_files_of_its_folder_only(root: Path, file: Any) -> None:
    save_file({"x": np.zeros(1)}, root / "0.safetensors")
    index = json.loads((root / "model" / INDEX).read_text())
    index["weight_map"][f"{ATTENTION}.self.query.weight"] = file
    (root / "model" / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="is not the name of a safetensors file"):
        open_checkpoint(root / "model")


def test_collisions_and_leftovers(root: Path) -> None:
    model = root / "model"
    save_file({f"{ATTENTION}.self.value.weight": np.zeros((4, 4))}, model / "0.safetensors")
    with pytest.raises(CheckpointError, match=r"as well|it is not"):
        open_checkpoint(model)
    (model / INDEX).unlink()
    with pytest.raises(CheckpointError, match="2 safetensors files, no index"):
        open_checkpoint(model)
    (model / "0.safetensors").unlink()
    (model / "1.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")
    with pytest.raises(CheckpointError, match="not a regular file"):
        open_checkpoint(model)
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(root / "nothing")
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint("a\x00b")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named(root: Path, value: float) -> None:
    arrays = {f"{ATTENTION}.self.{p}.weight": np.ones((4, 4)) for p in ("query", "key", "value")}
    arrays[f"{ATTENTION}.self.key.weight"][1, 2] = value
    arrays[f"{ATTENTION}.output.dense.weight"] = np.ones((4, 4))
    shutil.rmtree(root / "model")
    (root / "model").mkdir()
    save_file(arrays, root / "model" / "model.safetensors")
    (root / "model" / "config.json").write_text('{"num_attention_heads": 2}')
    for line in run_all(root, "--family", "bert"):
        assert f"'{ATTENTION}.self.key.weight' holds values that are not finite" in line


def test_without_heads_it_says_what_to_do(root: Path) -> None:
    (root / "model" / "config.json").unlink()
    said = run_all(root)
    assert len(said) == 2
    assert all("--heads" in line for line in said)
    (line,) = run_all(root, "--heads", "2")
    assert "--family bert" in line
    assert run_all(root, "--heads", "2", "--family", "bert") == []
    assert all("heads" in line for line in run_all(root, "--heads", "3"))


def test_an_unknown_model_is_listed_array_by_array(tmp_path: Path) -> None:
    arrays = {"w": np.ones((2, 2)), "n": np.ones(3, np.int64)}
    save_file(arrays, tmp_path / "a.safetensors")
    found = audit(tmp_path / "a.safetensors")
    assert found.family == "unknown"
    assert found.reasons == {
        "n": "I64 is not a floating dtype that can be measured", "w": "not recognised"
    }  # fmt: skip
    assert "--bonds" in found.notes[0]


def test_as_a_command(root: Path) -> None:
    """A traceback that only a process of its own would show."""
    (root / "model" / "0.safetensors").write_bytes(b"\xff" * 30)
    code = "from symbias.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "audit", str(root / "model")], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("symbias: error: ")
    assert result.stderr.count("\n") == 1
