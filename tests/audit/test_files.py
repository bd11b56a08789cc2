"""Which file of a folder is read, and why some arrays cannot be."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from symbias.audit import CheckpointError, audit, balance_checkpoint, open_checkpoint
from tests.audit.models import Live, tf

INDEX = "model.safetensors.index.json"


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return Live("bert", tmp_path / "model").path


def shards(folder: Path, factor: float = 2.0, name: str = "model") -> None:
    """The same arrays times a factor, in two shards with an index."""
    arrays = {k: factor * a for k, a in load_file(folder / "model.safetensors").items()}
    names = list(arrays)
    files = [f"{name}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for part, file in zip((names[::2], names[1::2]), files, strict=True):
        save_file({n: arrays[n] for n in part}, folder / file, {"format": "pt"})
    where = {n: files[i % 2] for i, n in enumerate(names)}
    (folder / f"{name}.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def norm(folder: Path) -> float:
    return sum(row.norm for row in audit(folder).rows)


def test_a_whole_file_comes_before_shards(bert: Path) -> None:
    alone = norm(bert)
    shards(bert)
    with torch.no_grad():
        loaded = tf.BertModel.from_pretrained(bert, dtype=torch.float64)
    read = open_checkpoint(bert).read("embeddings.word_embeddings.weight")
    assert np.array_equal(read, loaded.embeddings.word_embeddings.weight.detach().numpy())
    assert norm(bert) == alone
    (note,) = audit(bert).notes
    assert note == f"model.safetensors is read, as transformers does; {INDEX} is not"
    found = balance_checkpoint(bert, bert.parent / "new")
    assert note in found.notes
    assert any("model-00001-of-00002.safetensors: other weights" in n for n in found.notes)
    (bert / "model.safetensors").unlink()
    assert norm(bert) == pytest.approx(4 * alone)
    assert not audit(bert).notes


def test_the_index_of_the_model_comes_before_others(bert: Path) -> None:
    shards(bert, 2.0)
    shards(bert, 3.0, "other")
    (bert / "model.safetensors").unlink()
    assert norm(bert) > 0
    assert open_checkpoint(bert).files[0].name.startswith("model-")
    (bert / INDEX).rename(bert / "third.safetensors.index.json")
    with pytest.raises(CheckpointError, match="two indices"):
        open_checkpoint(bert)


def test_an_adapter_has_its_own_config(bert: Path) -> None:
    arrays = {"x.lora_A.weight": np.ones((2, 3)), "x.lora_B.weight": np.ones((4, 2))}
    save_file(arrays, bert / "adapter_model.safetensors")
    (bert / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2}')
    assert audit(bert).family == "BERT"  # the model that the adapter is for lies beside it
    found = audit(bert / "adapter_model.safetensors")
    assert (found.family, found.guess) == ("LoRA", False)
    (bert / "model.safetensors").unlink()
    assert audit(bert).family == "LoRA"


def test_one_shard_of_several_is_a_guess(bert: Path, tmp_path: Path) -> None:
    shards(bert)
    shard = bert / "model-00001-of-00002.safetensors"
    found = audit(shard)
    assert found.guess
    assert "one of 2 shards: give their folder" in found.notes[0]
    with pytest.raises(CheckpointError, match="one of 2 shards"):
        balance_checkpoint(shard, tmp_path / "new.safetensors", family="bert")


def raw(folder: Path, arrays: dict[str, tuple[str, list[int], int]], config: Any) -> Path:
    """A file of zeros with any dtypes: name to dtype, shape and bits."""
    header, place = {}, 0
    for name, (dtype, shape, bits) in arrays.items():
        size = int(np.prod(shape)) * bits // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    folder.mkdir()
    content = struct.pack("<Q", len(text)) + text + bytes(place)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


QUANTIZED = {
    "gptq": ({"qweight": ("I32", [2, 16], 32), "qzeros": ("I32", [1, 2], 32),
              "scales": ("F16", [1, 16], 16), "g_idx": ("I32", [16], 32)}, "I32"),
    "awq": ({"qweight": ("I32", [16, 2], 32), "qzeros": ("I32", [1, 2], 32),
             "scales": ("F16", [1, 16], 16)}, "I32"),
    "fp8": ({"weight": ("F8_E4M3", [16, 16], 8), "weight_scale_inv": ("F32", [3, 3], 32)},
            "F8_E4M3"),
    "bitsandbytes": ({"weight": ("U8", [128, 1], 8), "weight.absmax": ("F32", [4], 32)}, "U8"),
}  # fmt: skip


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("method", QUANTIZED)
def test_quantized_weights_are_named(tmp_path: Path, method: str, told: bool) -> None:
    parts, dtype = QUANTIZED[method]
    base = "model.layers.0.self_attn"
    arrays = {f"{base}.{p}_proj.{part}": v for p in "qkvo" for part, v in parts.items()}
    arrays["model.norm.weight"] = ("F16", [16], 16)
    config: dict[str, Any] = {"model_type": "llama", "num_attention_heads": 4}
    config |= {"quantization_config": {"quant_method": method}} if told else {}
    model = raw(tmp_path / "model", arrays, config)
    found = audit(model)
    assert not found.rows
    assert f"its weights are stored as {dtype}, which is not measured" in found.notes[0]
    assert not told or f"quantized ({method})" in found.notes[0]
    assert "quantized" in found.reasons["model.norm.weight"]
    for name in arrays:
        part = name.rsplit("_proj.", 1)[-1]
        if part in ("scales", "weight_scale_inv", "weight.absmax"):
            assert "a part of a quantized weight" in found.reasons[name]
    with pytest.raises(CheckpointError, match="no bond to balance"):
        balance_checkpoint(model, tmp_path / "new")


def test_weights_that_are_quantized_when_they_are_loaded(bert: Path) -> None:
    config = json.loads((bert / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (bert / "config.json").write_text(json.dumps(config))
    found = audit(bert)
    assert found.rows
    assert "its weights are quantized (bitsandbytes)" in found.notes[0]
    with pytest.raises(CheckpointError, match="quantized"):
        balance_checkpoint(bert, bert.parent / "new")


def test_code_of_its_own_is_a_guess(bert: Path) -> None:
    config = json.loads((bert / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling.Mine"}
    (bert / "config.json").write_text(json.dumps(config))
    assert "its code is its own" in audit(bert).notes[0]
    with pytest.raises(CheckpointError, match="--family bert"):
        balance_checkpoint(bert, bert.parent / "new")
    balance_checkpoint(bert, bert.parent / "new", family="bert")
