"""What is no LoRA and no safetensors file: one line that says what to do, and that is tried."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from typer.testing import CliRunner

from symbias.cli import app
from tests.audit.test_lora import adapter


def refused(model: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["audit", str(model), *options])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "no-suffix"])
def test_a_pickle_is_not_read_and_the_line_says_how_to_convert_it(
    tmp_path: Path, name: str
) -> None:
    rng = np.random.default_rng(0)
    base = "encoder.layer.0.attention"
    arrays = {f"{base}.{part}.weight": torch.tensor(rng.standard_normal((8, 8)))
              for part in ("self.query", "self.key", "self.value", "output.dense")}  # fmt: skip
    arrays["tied"] = arrays[f"{base}.self.query.weight"]
    torch.save(arrays, tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "num_attention_heads": 2}')
    said = refused(tmp_path / name)
    assert f"{name}: a pickle, which runs code when it is read; convert it once: python -c" in said
    if name != "no-suffix":
        assert f"no safetensors file; {name} is a pickle" in refused(tmp_path)
    command = shlex.split(said.split("convert it once: ")[1])
    subprocess.run([sys.executable, *command[1:]], check=True)  # from any folder
    (made,) = tmp_path.glob("*.safetensors")
    assert CliRunner().invoke(app, ["audit", str(made)]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [("a.gguf", b"GGUF", "GGUF"), ("b", b"GGUF\x03", "GGUF"), ("c.h5", b"\x89HDF", "Keras"),
     ("d.msgpack", b"x", "Flax"), ("e.onnx", b"x", "ONNX")],
)  # fmt: skip
def test_other_formats(tmp_path: Path, name: str, start: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(start + b"\0" * 64)
    said = refused(tmp_path / name)
    assert f"{name}: {kind} weights are not read; save the model that they were made from" in said
    if name != "b":
        assert f"{name} is of another format: {kind} weights" in refused(tmp_path)


def test_a_folder_of_several_adapters(tmp_path: Path) -> None:
    for name in ("first", "second"):
        adapter(tmp_path / name)
    said = refused(tmp_path)
    assert "holds 2 adapters in folders of their own (first, second): give one" in said
    assert CliRunner().invoke(app, ["audit", str(tmp_path / "first")]).exit_code == 0


def test_an_adapter_beside_others(tmp_path: Path) -> None:
    adapter(tmp_path / "first")
    adapter(tmp_path / "first" / "second")
    text = " ".join(CliRunner().invoke(app, ["audit", str(tmp_path / "first")]).stdout.split())
    assert "Note: the adapter of this folder is read; those in second are not" in text


def test_a_config_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert "no weights; give the folder that it is in" in refused(tmp_path / "config.json")


def test_a_base_that_does_not_fit(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    save_file({"x.weight": np.ones((16, 20)), "y.weight": np.ones((16, 21))},
              tmp_path / "base.safetensors")  # fmt: skip
    base = ["--base", str(tmp_path / "base.safetensors")]
    text = " ".join(CliRunner().invoke(app, ["audit", str(folder), *base]).stdout.split())
    assert "no share for 1 of 2 products: --base has no weight of that name and size" in text
    (folder / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
    said = refused(folder, *base)
    assert "a base model is for LoRA adapters: adapter_config: peft_type LOHA is not LORA" in said


def test_a_folder_around_a_model(tmp_path: Path) -> None:
    (tmp_path / "snapshot").mkdir()
    save_file({"x": np.ones(3)}, tmp_path / "snapshot" / "model.safetensors")
    assert "there is one in snapshot: give that folder" in refused(tmp_path)
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty").endswith("empty: no safetensors file\n")


def peft_of(kind: str, folder: Path) -> Path:
    peft = pytest.importorskip("peft")
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))
    makes: dict[str, Any] = {
        "LOHA": lambda: peft.LoHaConfig(r=2, target_modules=["0"]),
        "LOKR": lambda: peft.LoKrConfig(r=2, target_modules=["0"]),
        "VERA": lambda: peft.VeraConfig(r=2, target_modules=["0"]),
        "IA3": lambda: peft.IA3Config(target_modules=["0"], feedforward_modules=[]),
        "OFT": lambda: peft.OFTConfig(oft_block_size=2, target_modules=["0"]),
        "BOFT": lambda: peft.BOFTConfig(boft_block_size=1, target_modules=["0"]),
        "HRA": lambda: peft.HRAConfig(r=2, target_modules=["0"]),
        "FOURIERFT": lambda: peft.FourierFTConfig(n_frequency=3, target_modules=["0"]),
    }
    peft.get_peft_model(model, makes[kind]()).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "does"),
    [("LOHA", r"adds \(A1 B1\) \* \(A2 B2\)"), ("LOKR", "adds a Kronecker product"),
     ("VERA", "scales two random matrices"), ("IA3", "scales activations by vectors"),
     ("OFT", "rotates the weight"), ("HRA", "rotates"), ("FOURIERFT", "few frequencies")],
)  # fmt: skip
def test_adapters_that_are_no_lora(tmp_path: Path, kind: str, does: str) -> None:
    said = refused(peft_of(kind, tmp_path / "m"))
    assert f"no bond was found: adapter_config: peft_type {kind} is not LORA (it" in said
    assert re.search(does, said)
    assert "only bonds of a product B A are known" in said


def test_a_model_of_no_known_family(tmp_path: Path) -> None:
    save_file({"x": np.ones((3, 3))}, tmp_path / "m.safetensors")
    assert "no bond was found: a model without a model_type" in refused(tmp_path / "m.safetensors")
    out = tmp_path / "out"
    refused(tmp_path / "m.safetensors", "--out", str(out))
    assert not out.exists()


def test_float8_weights(tmp_path: Path) -> None:
    from safetensors.torch import save_file as save

    weights = {"model.layers.0.self_attn.q_proj.weight": torch.ones(8, 8).to(torch.float8_e4m3fn)}
    save(weights, tmp_path / "model.safetensors")
    config = {"model_type": "x", "quantization_config": {"quant_method": "fp8"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    said = refused(tmp_path)
    assert "quantized (fp8): its weights are stored as F8_E4M3, which is not measured" in said
    assert "save it once as bfloat16, each weight times its scale" in said
