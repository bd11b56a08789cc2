"""A slice of `fuzz.py`: whatever is damaged, a result or one line."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from symbias.audit import audit, balance_checkpoint
from tests.audit.fuzz import run
from tests.audit.models import Live


@pytest.mark.parametrize(
    ("first", "cases"),
    [
        (0, 150),
        (19612, 1),
        pytest.param(10**6, 5_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_damage_ends_in_a_result_or_in_one_line(tmp_path: Path, first: int, cases: int) -> None:
    ends, failures = run(first, cases, tmp_path)
    assert not failures, failures[0]
    assert sum(ends.values()) == cases
    copies = sum(count for end, count in ends.items() if "copy" in end)
    assert cases == 1 or 0.1 < copies / cases < 0.4  # damage is not so coarse that nothing is read


LOST = [
    ("llama", "model.layers.0.input_layernorm.weight"),
    ("llama", "model.layers.1.mlp.up_proj.weight"),
    ("llama", "model.layers.1.self_attn.o_proj.weight"),
    ("mixtral", "model.layers.0.block_sparse_moe.experts.1.w3.weight"),
    ("gpt2", "transformer.h.0.ln_2.weight"),
    ("gpt2 relu", "transformer.h.1.mlp.c_proj.weight"),
    ("gpt neox", "gpt_neox.layers.0.post_attention_layernorm.weight"),
    ("opt", "model.decoder.layers.0.self_attn_layer_norm.weight"),
    ("bert", "encoder.layer.0.attention.output.dense.weight"),
    ("bert relu", "encoder.layer.1.output.dense.weight"),
    ("vit", "vit.encoder.layer.0.layernorm_before.weight"),
    ("timm vit", "blocks.1.mlp.fc1.weight"),
    ("bart", "decoder.layers.0.encoder_attn.k_proj.weight"),
    ("resnet", "resnet.encoder.stages.0.layers.0.layer.1.normalization.weight"),
    ("torchvision resnet", "layer1.0.bn1.weight"),
]


@pytest.mark.parametrize(("name", "lost"), LOST)
@pytest.mark.parametrize("renamed", [False, True])
def test_what_a_family_expects_and_a_file_lacks(
    tmp_path: Path, name: str, lost: str, renamed: bool
) -> None:
    """A row and a reason, and the other layers as they were."""
    live = Live(name, tmp_path / "model")
    whole = audit(live.path)
    arrays = load_file(live.path / "model.safetensors")
    assert lost in arrays
    array = arrays.pop(lost)
    if renamed:
        arrays[lost[:-8] + "_" + lost[-7:]] = array
    save_file(arrays, live.path / "model.safetensors", {"format": "pt"})
    found = audit(live.path)
    assert lost in found.reasons
    assert any(word in found.reasons[lost] for word in ("not in the file", "missing"))
    assert set(arrays) >= set(found.reasons) - {lost}
    if found.rows:
        assert len(found.rows) < len(whole.rows)
        assert {r.bond for r in found.rows} < {r.bond for r in whole.rows}
        assert all(np.isfinite(row.log_volume) for row in found.rows)
        family = {"torchvision": "resnet", "timm": "vit"}.get(name.split()[0])
        balance_checkpoint(live.path, tmp_path / "new", family=family)
