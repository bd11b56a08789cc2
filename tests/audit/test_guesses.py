"""What array names cannot tell: no bond on what is not known, no copy on a guess."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from symbias.audit import Audit, CheckpointError, audit, balance_checkpoint
from symbias.cli import app
from tests.audit.models import Live, tf

Arrays = dict[str, np.ndarray]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """A model of `models.py`, its arrays and config changed."""

    def build(name: str, more: Arrays | None = None, **config: Any) -> Path:
        live = Live(name, tmp_path / "model")
        arrays = load_file(live.path / "model.safetensors") | (more or {})
        save_file(arrays, live.path / "model.safetensors")
        file = live.path / "config.json"
        told = json.loads(file.read_text()) if file.exists() else {}
        told = {k: v for k, v in (told | config).items() if v is not None}
        file.write_text(json.dumps(told))
        return live.path

    return build


def kinds(found: Audit, layer: int) -> set[str]:
    return {row.kind for row in found.rows if row.layer == layer}


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape)


@pytest.mark.parametrize(
    ("name", "family"),
    [("bert", "bert"), ("llama", "llama"), ("timm vit", "vit"),
     ("torchvision resnet", "resnet"), ("torchvision vgg", "vgg")],
)  # fmt: skip
def test_a_guess_is_measured_but_not_balanced(
    make: Any, tmp_path: Path, name: str, family: str
) -> None:
    model, out = make(name, model_type=None), tmp_path / "new"
    found = audit(model)
    assert found.rows
    assert "from array names alone: its activation, block order and rotary" in found.notes[0]
    assert found.summary()["guess"]
    result = CliRunner().invoke(app, ["balance", str(model), "--out", str(out)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"--family {family}" in result.stderr
    assert not out.exists()
    options = ["--family", family, "--out", str(out), "--quiet"]
    result = CliRunner().invoke(app, ["balance", str(model), *options])
    assert result.exit_code == 0, result.stderr
    assert out.exists()
    rows = [r.to_dict() for r in audit(model, family=family).rows]
    assert rows == [r.to_dict() for r in found.rows]


def test_families_are_listed_and_must_not_contradict(make: Any) -> None:
    model = make("bert")
    with pytest.raises(CheckpointError, match=r"no family 'vvg'; there are .*bert.* vgg"):
        audit(model, family="vvg")
    with pytest.raises(CheckpointError, match="vgg contradicts the model_type 'bert'"):
        audit(model, family="vgg")
    with pytest.raises(CheckpointError, match="not both"):
        audit(model, family="bert", bonds=[])
    assert not any("names alone" in note for note in audit(model, family="bert").notes)
    (model / "config.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be read as family llama"):
        audit(model, family="llama", heads=4)


def test_heads_must_not_contradict_the_config(make: Any) -> None:
    model = make("bert")
    assert audit(model, heads=4).rows
    with pytest.raises(CheckpointError, match=r"2 heads were given; .* num_attention_heads is 4"):
        audit(model, heads=2)


@pytest.mark.parametrize("slopes", [1, 4])
def test_a_vector_without_statistics_is_no_norm(tmp_path: Path, slopes: int) -> None:
    """Slopes of a PReLU, of each channel or of all, and a norm without statistics."""
    rng = np.random.default_rng(0)
    shapes = {"features.0": (4, 3, 3, 3), "features.2": (5, 4, 3, 3), "features.4": (5, 5, 3, 3),
              "classifier.0": (6, 20)}  # fmt: skip
    arrays = {f"{name}.weight": rng.standard_normal(shape) for name, shape in shapes.items()}
    arrays["features.1.weight"] = rng.standard_normal(slopes)
    save_file(arrays, tmp_path / "a.safetensors")
    found = audit(tmp_path / "a.safetensors")
    assert {r.bond for r in found.rows} == {"features.2 to features.4",
                                            "features.4 to classifier.0"}  # fmt: skip
    assert "of slopes: not known" in found.reasons["features.0.weight"]
    assert "of slopes: not known" in found.reasons["features.1.weight"]


@pytest.mark.parametrize("nested", [False, True])
def test_llama_turns_whole_heads_whatever_its_config_says(make: Any, nested: bool) -> None:
    part = {"partial_rotary_factor": 0.5}
    rope = {"rope_type": "default", "rope_theta": 1e4, **(part if nested else {})}
    model = make("llama", **({} if nested else part), rope_parameters=rope)
    with torch.no_grad():
        live = tf.LlamaForCausalLM.from_pretrained(model)
        turned = live.model.rotary_emb(torch.zeros(1, 2, 16), torch.arange(2)[None])[0]
    assert turned.shape[-1] == 4  # the whole head, in spite of the factor
    found = audit(model)
    assert kinds(found, 0) == {"vo", "mlp", "gain"}
    assert any("llama ignores" in note for note in found.notes)


STRANGERS = [
    ("timm vit", "blocks.0.attn.q_bias", ones(8)),
    ("timm vit", "blocks.0.attn.rel_pos_h", ones(7, 4)),
    ("timm vit", "blocks.0.attn.norm.weight", ones(8)),
    ("timm vit", "blocks.0.attn.temperature", ones(2)),
    ("bert", "encoder.layer.0.attention.self.query_b.weight", ones(16, 16)),
    ("gpt2", "transformer.h.0.attn.rotary", ones(4)),
    ("llama", "model.layers.0.self_attn.g_proj.weight", ones(16, 16)),
    ("llama", "model.layers.0.self_attn.q_norm.weight", ones(16)),
    ("gpt neox", "gpt_neox.layers.0.attention.scale", ones(1)),
    ("vit", "vit.encoder.layer.0.attention.output.lambda1", ones(16)),
    ("opt", "model.decoder.layers.0.self_attn.k_scale", ones(1)),
]


@pytest.mark.parametrize(("name", "stranger", "value"), STRANGERS)
def test_an_unknown_array_beside_an_attention(
    make: Any, name: str, stranger: str, value: np.ndarray
) -> None:
    found = audit(make(name, {stranger: value}))
    assert not kinds(found, 0) & {"qk", "qk free", "vo"}
    assert {"qk", "vo"} <= kinds(found, 1)  # the other layer is as it was
    assert any(stranger in note for note in found.notes)
    assert not any(row.kind == "residual" for row in found.rows)


def test_masks_and_tables_do_no_harm(make: Any) -> None:
    base = "transformer.h.0.attn"
    masks = {f"{base}.bias": np.ones((1, 1, 8, 8), np.uint8), f"{base}.masked_bias": ones(1)}
    assert {"qk", "vo"} <= kinds(audit(make("gpt2", masks)), 0)
    table = {"model.layers.0.self_attn.rotary_emb.inv_freq": ones(2)}
    assert {"qk", "vo", "mlp", "gain"} == kinds(audit(make("llama", table)), 0)


def adapter(folder: Path, more: Arrays, method: str | None) -> Path:
    rng = np.random.default_rng(0)
    arrays = {f"{layer}.lora_{part}.weight": rng.standard_normal(shape)
              for layer in "xy" for part, shape in (("A", (3, 8)), ("B", (6, 3)))}  # fmt: skip
    save_file(arrays | more, folder / "adapter_model.safetensors")
    if method:
        (folder / "adapter_config.json").write_text(json.dumps({"peft_type": method}))
    return folder / "adapter_model.safetensors"


def test_only_lora_is_read_as_lora(tmp_path: Path) -> None:
    found = audit(adapter(tmp_path, {}, "LORA"))
    assert {row.bond for row in found.rows} == {"x", "y"}
    assert not found.notes
    for strange in ({"x.lora_E": ones(3, 1)}, {"x.lora_A.bias": ones(3)}):
        found = audit(adapter(tmp_path, strange, "LORA"))
        assert {row.bond for row in found.rows} == {"y"}
        assert "acts on the same adapter" in found.reasons["x.lora_A.weight"]
    model = adapter(tmp_path, {}, "ADALORA")
    assert not audit(model).rows
    with pytest.raises(CheckpointError, match="no bond to balance"):
        balance_checkpoint(model, tmp_path / "new.safetensors")
    (tmp_path / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match="--family lora"):
        balance_checkpoint(model, tmp_path / "new.safetensors")


@pytest.mark.parametrize(("heads", "rows"), [(4, 12), (8, 14)])
def test_pruned_heads_leave_no_bond(make: Any, heads: int, rows: int) -> None:
    """What 3 heads of size 4 leave divides by 4 heads too, to heads of a wrong size."""
    base = "encoder.layer.0.attention"
    cut = {f"{base}.self.{p}.{end}": ones(*((rows, 16) if end == "weight" else (rows,)))
           for p in ("query", "key", "value") for end in ("weight", "bias")}  # fmt: skip
    cut[f"{base}.output.dense.weight"] = ones(16, rows)
    found = audit(make("bert", cut, num_attention_heads=heads, pruned_heads={"0": [1]}))
    assert (kinds(found, 0), kinds(found, 1)) == (set(), {"qk", "vo"})
    assert "pruned" in found.reasons[f"{base}.self.query.weight"]


def test_what_cannot_be_measured_is_not_absent(make: Any) -> None:
    base = "encoder.layer.0.attention.self"
    found = audit(make("bert", {f"{base}.query.bias": np.ones(16, np.int8)}))
    assert (kinds(found, 0), kinds(found, 1)) == ({"vo"}, {"qk", "vo"})
    assert "'encoder.layer.0.attention.self.query.bias'" in found.reasons[f"{base}.query.weight"]
    model = make("gpt2 relu", {"transformer.h.0.mlp.c_fc.bias": np.ones(64, np.int8)})
    assert "mlp" not in kinds(audit(model), 0)


def test_pruned_heads_and_norms_of_a_vision_transformer(make: Any) -> None:
    found = audit(make("vit", pruned_heads={"0": [1]}))
    assert (kinds(found, 0), kinds(found, 1)) == ({"gain"}, {"qk", "vo", "gain"})
    with pytest.raises(CheckpointError, match="pruned_heads must map layers to heads"):
        audit(make("vit", pruned_heads=[3]))
    found = audit(make("timm vit", {"blocks.0.attn.k_norm.weight": ones(4)}))
    assert (kinds(found, 0), kinds(found, 1)) == ({"vo", "gain"}, {"qk", "vo", "gain"})
