"""What reads the last norm: bonds of the function that is run, not of the names that are there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import symbias as sb
from symbias.audit import Audit, audit, open_checkpoint
from symbias.audit.reading import reading_of
from symbias.models.claims import Reading
from tests.audit.models import IMAGES, LLAMA, TEXT, TOKENS, tf

Arrays = dict[str, np.ndarray]
CONFIG = {**LLAMA, "num_labels": 3, "pad_token_id": 0}


def llama(kind: str, **config: Any) -> Any:
    return getattr(tf, kind)(tf.LlamaConfig(**CONFIG | config))


def neox(kind: str) -> Any:
    turned = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    config = tf.GPTNeoXConfig(**TEXT, num_labels=3, pad_token_id=0, rope_parameters=turned)
    return getattr(tf, kind)(config)


def saved(model: Any, folder: Path) -> Any:
    """On disk, in double precision, every entry random."""
    torch.manual_seed(1)
    model = model.double().eval()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(0.4 * torch.randn_like(value) + (value.ndim == 1))
    model.save_pretrained(folder)
    return model


def arrays_of(folder: Path) -> Arrays:
    return load_file(folder / "model.safetensors")


def output(folder: Path, arrays: Arrays) -> np.ndarray:
    """Of the class that config.json names, loaded from these arrays."""
    other = folder / "other"
    other.mkdir(exist_ok=True)
    save_file({k: np.array(a, order="C") for k, a in arrays.items()},
              other / "model.safetensors", {"format": "pt"})  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config))
    kind = getattr(tf, config["architectures"][0])
    model = kind.from_pretrained(other, dtype=torch.float64).eval()
    with torch.no_grad():
        if "resnet" in config["model_type"]:
            return torch.cat([m.flatten() for m in model(IMAGES).feature_maps]).numpy()
        return model(input_ids=TOKENS[:1])[0].numpy()


def reading(folder: Path) -> Reading:
    return reading_of(open_checkpoint(folder), None)


def change(folder: Path, arrays: Arrays, after: Arrays) -> float:
    before = output(folder, arrays)
    return float(np.abs(output(folder, after) - before).max() / np.abs(before).max())


def check_gains(folder: Path) -> set[str]:
    """Move every gain by its bond; returns their names."""
    arrays, gains = arrays_of(folder), [c for c in reading(folder).claims if c.kind == "gain"]
    symmetry = sb.Symmetry([c.bond for c in gains])
    moved = sb.act(symmetry, sb.random_element(symmetry, 0, 0.3), arrays)
    assert change(folder, arrays, moved) < 3e-6
    return {c.bond.name for c in gains}


def check_stream(folder: Path) -> float:
    """Turn the stream, gains absorbed, and return its log volume by the dense definition."""
    found, arrays = reading(folder), arrays_of(folder)
    (stream,) = found.streams
    plain = dict(arrays)
    for name, gain in stream.readers:
        assert gain is not None
        plain[name] = arrays[name] * arrays[gain]
    plain |= {gain: np.ones_like(arrays[gain]) for _, gain in stream.readers if gain}
    bond = sb.Bond(sb.Orthogonal(stream.size), [*((n, 1) for n, _ in stream.readers),
                                                *stream.writers])  # fmt: skip
    symmetry = sb.Symmetry([bond])
    turned = sb.act(symmetry, sb.random_element(symmetry, 0), plain)
    assert change(folder, arrays, turned) < 3e-6
    assert change(folder, arrays, turned | {bond.arrays[0]: plain[bond.arrays[0]]}) > 1e-3
    return float(sb.log_volume(symmetry, plain))


def stream_of(found: Audit) -> Any:
    return next((row for row in found.rows if row.kind == "residual"), None)


def last(found: Audit) -> set[str]:
    """The bonds of gains that belong to no layer."""
    return {row.bond for row in found.rows if row.kind == "gain" and row.layer is None}


@pytest.mark.parametrize(
    ("kind", "head"),
    [("LlamaForCausalLM", "lm_head"), ("LlamaForSequenceClassification", "score"),
     ("LlamaForTokenClassification", "score"), ("LlamaForQuestionAnswering", "qa_outputs")],
)  # fmt: skip
def test_the_head_that_is_run(tmp_path: Path, kind: str, head: str) -> None:
    saved(llama(kind), tmp_path)
    found = audit(tmp_path)
    assert last(found) == {"norm gain"} <= check_gains(tmp_path)
    assert f"{head}.weight" not in found.reasons
    assert stream_of(found).log_volume == pytest.approx(check_stream(tmp_path), rel=1e-9)


def test_a_head_that_is_stored_and_not_run(tmp_path: Path) -> None:
    """A classifier made of a language model: its old head does not count."""
    saved(llama("LlamaForSequenceClassification"), tmp_path)
    wanted = audit(tmp_path)
    more = {"lm_head.weight": np.random.default_rng(0).standard_normal((11, 16))}
    save_file(arrays_of(tmp_path) | more, tmp_path / "model.safetensors", {"format": "pt"})
    found = audit(tmp_path)
    assert [r.to_dict() for r in found.rows] == [r.to_dict() for r in wanted.rows]
    check_stream(tmp_path)
    assert "is the output, or is not known" in found.reasons["lm_head.weight"]
    (tmp_path / "config.json").write_text(
        (tmp_path / "config.json").read_text().replace("ForSequenceClassification", "ForAnything")
    )
    found = audit(tmp_path)
    assert not last(found)
    assert stream_of(found) is None
    assert any("LlamaForAnything computes of the last norm is not known" in n for n in found.notes)


def without_config_keys(folder: Path, **changed: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changed
    kept = {k: v for k, v in config.items() if v is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def test_several_heads_and_no_word_which(tmp_path: Path) -> None:
    saved(llama("LlamaForSequenceClassification"), tmp_path)
    without_config_keys(tmp_path, architectures=None)
    assert stream_of(audit(tmp_path)) is not None  # the only one there is
    more = {"lm_head.weight": np.ones((11, 16))}
    save_file(arrays_of(tmp_path) | more, tmp_path / "model.safetensors", {"format": "pt"})
    found = audit(tmp_path)
    assert stream_of(found) is None
    assert any("several layers may read the last norm" in note for note in found.notes)


@pytest.mark.parametrize("make", [lambda: llama("LlamaModel"), lambda: neox("GPTNeoXModel")])
def test_a_body_alone_gives_its_norm_away(tmp_path: Path, make: Callable[[], Any]) -> None:
    saved(make(), tmp_path)
    found = audit(tmp_path)
    assert not last(found)
    assert stream_of(found) is None
    assert any("a body alone" in note for note in found.notes)
    assert check_gains(tmp_path)  # those inside are as they were


@pytest.mark.parametrize("stored", [False, True])
def test_a_tied_embedding_has_no_last_gain(tmp_path: Path, stored: bool) -> None:
    saved(llama("LlamaForCausalLM", tie_word_embeddings=True), tmp_path)
    if stored:  # equal or not: which of them is run depends on the version of transformers
        arrays = arrays_of(tmp_path)
        arrays["lm_head.weight"] = arrays["model.embed_tokens.weight"].copy()
        save_file(arrays, tmp_path / "model.safetensors", {"format": "pt"})
    found = audit(tmp_path)
    assert not last(found)
    check_gains(tmp_path)
    row = stream_of(found)
    assert (row is None) is stored
    if stored:
        assert "the config ties it to the embedding" in found.reasons["lm_head.weight"]
    else:
        assert "untied" in row.note


def test_an_output_that_is_not_in_the_file(tmp_path: Path) -> None:
    saved(llama("LlamaForCausalLM"), tmp_path)
    arrays = arrays_of(tmp_path)
    del arrays["lm_head.weight"]
    save_file(arrays, tmp_path / "model.safetensors")
    found = audit(tmp_path)
    assert not last(found)
    assert stream_of(found) is None
    assert any("lm_head.weight, which reads the last norm, is not in the file" in note
               for note in found.notes)  # fmt: skip


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
@pytest.mark.parametrize("make", [lambda: llama("LlamaForCausalLM"),
                                  lambda: neox("GPTNeoXForCausalLM")])  # fmt: skip
def test_prefixes_of_wrappers(tmp_path: Path, prefix: str, make: Callable[[], Any]) -> None:
    saved(make(), tmp_path)
    wanted = audit(tmp_path)
    assert len(last(wanted)) == 1
    arrays = {prefix + name: a for name, a in arrays_of(tmp_path).items()}
    save_file(arrays, tmp_path / "model.safetensors")
    found = audit(tmp_path)
    assert [(r.bond, r.log_volume) for r in found.rows] == [
        (r.bond, r.log_volume) for r in wanted.rows
    ]


@pytest.mark.parametrize(
    ("kind", "head"),
    [("GPTNeoXForCausalLM", "embed_out"), ("GPTNeoXForSequenceClassification", "score"),
     ("GPTNeoXForTokenClassification", "classifier")],
)  # fmt: skip
def test_heads_of_neox(tmp_path: Path, kind: str, head: str) -> None:
    saved(neox(kind), tmp_path)
    assert last(audit(tmp_path)) == {"final_layer_norm gain"} <= check_gains(tmp_path)
    without_config_keys(tmp_path, tie_word_embeddings=True)
    assert bool(last(audit(tmp_path))) is (head != "embed_out")


STRANGERS = ["model.layers.0.adapter.weight", "model.layers.0.mlp.gate_up_scale",
             "model.memory.weight", "v_head.summary.weight"]  # fmt: skip


@pytest.mark.parametrize("stranger", STRANGERS)
def test_whatever_else_may_read_the_stream(tmp_path: Path, stranger: str) -> None:
    saved(llama("LlamaForCausalLM"), tmp_path)
    arrays = arrays_of(tmp_path) | {stranger: np.ones((16, 16))}
    save_file(arrays, tmp_path / "model.safetensors")
    found = audit(tmp_path)
    assert stream_of(found) is None
    assert any(stranger in note for note in found.notes)
    kinds = {row.kind for row in found.rows if row.layer == 0}
    assert {"qk", "vo", "mlp"} <= kinds
    assert ("gain" in kinds) is stranger.startswith("v_head")


def test_layers_that_are_missing(tmp_path: Path) -> None:
    saved(llama("LlamaForCausalLM"), tmp_path)
    arrays = {k: a for k, a in arrays_of(tmp_path).items() if "layers.0." not in k}
    save_file(arrays, tmp_path / "model.safetensors")
    found = audit(tmp_path)
    assert stream_of(found) is None
    assert any("2 layers are not all here" in note for note in found.notes)
    arrays = {k: a for k, a in arrays_of(tmp_path).items() if "up_proj" not in k}
    save_file(arrays, tmp_path / "model.safetensors")
    found = audit(tmp_path)
    assert stream_of(found) is None
    assert "not in the file" in found.reasons["model.layers.1.mlp.up_proj.weight"]


@pytest.mark.parametrize("stored", [True, False])
def test_stages_that_are_the_output(tmp_path: Path, stored: bool) -> None:
    """A backbone hands its stages out; a classifier that is stored beside it is not run."""
    layout = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1]}
    config = tf.ResNetConfig(**layout, layer_type="basic", out_features=["stage1", "stage2"])
    saved(tf.ResNetBackbone(config), tmp_path)
    arrays = arrays_of(tmp_path)
    if stored:
        more = {"classifier.1.weight": np.ones((3, 8)), "classifier.1.bias": np.ones(3)}
        save_file(arrays | more, tmp_path / "model.safetensors", {"format": "pt"})
    claims = [c for c in reading(tmp_path).claims if c.kind == "channels"]
    assert claims
    symmetry = sb.Symmetry([c.bond for c in claims])
    moved = sb.act(symmetry, sb.random_element(symmetry, 0, 0.3), arrays)
    assert change(tmp_path, arrays, moved) < 1e-9
