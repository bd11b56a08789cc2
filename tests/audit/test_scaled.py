"""FP8 and MXFP4 weights are read as the numbers they stand for, by other libraries' account."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from symbias.audit import CheckpointError, audit, balance_checkpoint, open_checkpoint
from symbias.checkpoints import write_file

RNG = np.random.default_rng(0)
F8 = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}


def numbers(*shape: int) -> torch.Tensor:
    return torch.from_numpy(RNG.standard_normal(shape).astype(np.float32))


def written(folder: Path, arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def fp8(weight: torch.Tensor, dtype: torch.dtype, block: tuple[int, int]) -> tuple[Any, Any]:
    """Codes and a positive scale for every block, with the last ones cut short."""
    grid = [-(-n // b) for n, b in zip(weight.shape, block, strict=True)]
    scale = torch.from_numpy(RNG.uniform(0.01, 0.1, grid).astype(np.float32))
    whole = scale.repeat_interleave(block[0], 0).repeat_interleave(block[1], 1)
    whole = whole[: weight.shape[0], : weight.shape[1]]
    codes = (weight / whole).clamp(-200, 200).to(dtype)
    return codes, (scale, codes.to(torch.float64) * whole.to(torch.float64))


@pytest.mark.parametrize("kind", F8)
@pytest.mark.parametrize("block", [(1, 300), (200, 300), (128, 128), (64, 32)], ids=str)
def test_fp8_is_what_torch_makes_of_it(tmp_path: Path, kind: str, block: tuple[int, int]) -> None:
    codes, (scale, wanted) = fp8(numbers(200, 300), F8[kind], block)
    row = block == (1, 300)
    name = "weight_scale" if row or block == (200, 300) else "weight_scale_inv"
    scale = scale[0, 0] if block == (200, 300) else scale[:, 0] if row else scale
    asked = {"weight_block_size": list(block)} if block == (64, 32) else {}
    config = {"quantization_config": {"quant_method": "fp8"} | asked}
    arrays = {"layer.weight": codes, f"layer.{name}": scale.contiguous()}
    model = open_checkpoint(written(tmp_path / "m", arrays, config))
    assert model.entries["layer.weight"].floating
    assert model.parts == {f"layer.{name}": "layer.weight"}
    read = model.read("layer.weight")
    assert np.allclose(read, wanted.numpy(), rtol=2e-7, atol=0)
    rows = np.concatenate(list(model.rows("layer.weight", np.float32, 700)))  # 2 rows at a time
    assert np.array_equal(rows, read.astype(np.float32))


def test_powers_of_two_as_scales_and_experts(tmp_path: Path) -> None:
    integrations = pytest.importorskip("transformers.integrations.finegrained_fp8")
    codes = numbers(3, 64, 96).to(torch.float8_e4m3fn)
    powers = torch.from_numpy(RNG.integers(110, 140, (3, 64, 3)).astype(np.uint8))
    arrays = {"experts.up_proj": codes, "experts.up_proj_scale_inv": powers}
    model = open_checkpoint(written(tmp_path / "m", arrays, {}))
    wanted = integrations.Fp8Dequantize(None)._dequantize_one(codes, powers, torch.float32)
    assert np.array_equal(model.read("experts.up_proj"), wanted.numpy())


def test_mxfp4_is_what_transformers_makes_of_it(tmp_path: Path) -> None:
    mxfp4 = pytest.importorskip("transformers.integrations.mxfp4")
    blocks = torch.from_numpy(RNG.integers(0, 256, (2, 6, 3, 16)).astype(np.uint8))
    scales = torch.from_numpy(RNG.integers(100, 140, (2, 6, 3)).astype(np.uint8))
    arrays = {"mlp.down_proj_blocks": blocks, "mlp.down_proj_scales": scales}
    model = open_checkpoint(written(tmp_path / "m", arrays, {}))
    wanted = mxfp4._convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    assert model.entries["mlp.down_proj"].shape == tuple(wanted.shape) == (2, 96, 6)
    assert np.array_equal(model.read("mlp.down_proj"), wanted.numpy())
    rows = np.concatenate(list(model.rows("mlp.down_proj", np.float64, 1)))  # an expert at a time
    assert np.array_equal(rows, wanted.numpy().reshape(2, -1))


def llama(folder: Path, quantize: bool) -> tuple[Path, Path]:
    """The same model stored as FP8 with scales, and as the numbers that these stand for."""
    d, hidden, base = 64, 96, "model.layers.0"
    shapes = {f"self_attn.{p}_proj": (d, d) for p in "qkvo"}
    shapes |= {
        "mlp.gate_proj": (hidden, d),
        "mlp.up_proj": (hidden, d),
        "mlp.down_proj": (d, hidden),
    }
    plain = {f"{base}.{n}.weight": torch.ones(d) for n in
             ("input_layernorm", "post_attention_layernorm")}  # fmt: skip
    plain |= {"model.norm.weight": torch.ones(d), "lm_head.weight": numbers(50, d)}
    plain["model.embed_tokens.weight"] = numbers(50, d)
    stored, meant = dict(plain), dict(plain)
    for name, shape in shapes.items():
        codes, (scale, number) = fp8(numbers(*shape), torch.float8_e4m3fn, (32, 32))
        stored[f"{base}.{name}.weight"] = codes
        stored[f"{base}.{name}.weight_scale_inv"] = scale
        meant[f"{base}.{name}.weight"] = number.to(torch.float32)
    config = {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 4,
              "architectures": ["LlamaForCausalLM"]}  # fmt: skip
    asked = {"quant_method": "fp8", "weight_block_size": [32, 32]}
    quantized = config | ({"quantization_config": asked} if quantize else {})
    return (written(folder / "fp8", stored, quantized), written(folder / "meant", meant, config))


@pytest.mark.parametrize("told", [True, False])
def test_the_audit_is_that_of_the_numbers(tmp_path: Path, told: bool) -> None:
    stored, meant = (audit(model) for model in llama(tmp_path, told))
    assert not stored.guess
    assert "weights stored as F8_E4M3 are measured as the numbers they stand for" in stored.notes[0]
    assert len(stored.rows) == len(meant.rows) > 10
    assert stored.arrays == meant.arrays + 7
    for row, wanted in zip(stored.rows, meant.rows, strict=True):
        assert (row.bond, row.head, row.dimension) == (wanted.bond, wanted.head, wanted.dimension)
        assert row.log_volume == pytest.approx(wanted.log_volume, abs=1e-6 * row.dimension)
        assert row.norm == pytest.approx(wanted.norm, rel=1e-6)
    scale = "model.layers.0.mlp.up_proj.weight_scale_inv"
    assert "a part of the quantized weight" in stored.reasons[scale]


def test_balance_refuses_and_says_what_works(tmp_path: Path) -> None:
    stored, meant = llama(tmp_path, quantize=True)
    with pytest.raises(CheckpointError, match=r"F8_E4M3 with scales.*quantized anew.*bfloat16"):
        balance_checkpoint(stored, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert balance_checkpoint(meant, tmp_path / "new").changed
    source = open_checkpoint(stored)
    with pytest.raises(CheckpointError, match="is quantized: save it as bfloat16 first"):
        write_file(tmp_path / "copy.safetensors", source, {}, {})


@pytest.mark.parametrize("where", ["code", "scale", "power"])
def test_what_is_no_number_is_refused(tmp_path: Path, where: str) -> None:
    codes = numbers(4, 32).to(torch.float8_e4m3fn)
    scale = torch.ones(4, 1)
    if where == "code":
        codes.view(torch.uint8)[1, 2] = 0xFF
    elif where == "scale":
        scale[1] = float("inf")
    else:
        scale = torch.full((4, 1), 255, dtype=torch.uint8)
    model = open_checkpoint(written(tmp_path / "m", {"weight": codes, "weight_scale": scale}, {}))
    with pytest.raises(CheckpointError, match="not finite"):
        model.read("weight")


@pytest.mark.parametrize(
    "scales",
    [{}, {"weight_scale": (3, 1)}, {"weight_scale": (4, 1), "weight_scale_inv": (4, 1)},
     {"weight_scale": (4, 1, 1)}],
    ids=["none", "misfit", "two", "axes"],
)  # fmt: skip
def test_scales_that_are_not_understood_leave_the_weight_unmeasured(
    tmp_path: Path, scales: dict[str, tuple[int, ...]]
) -> None:
    arrays = {"weight": numbers(4, 32).to(torch.float8_e4m3fn)}
    arrays |= {name: torch.ones(shape) for name, shape in scales.items()}
    model = open_checkpoint(written(tmp_path / "m", arrays, {}))
    assert not model.entries["weight"].floating
    assert not model.parts
