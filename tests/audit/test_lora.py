"""Adapters: what their config says about A and B, and the output of PEFT itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import symbias as sb
from symbias.audit import CheckpointError, audit, balance_checkpoint, open_checkpoint
from symbias.audit.reading import reading_of
from symbias.models.families import lora
from tests.audit.models import IMAGES, TOKENS, tf

RANK, EXPERTS, INPUTS, OUTPUTS = 3, 4, 20, 16
PLAIN = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["x", "y"]}
Arrays = dict[str, np.ndarray]


def adapter(folder: Path, experts: int = 1, **config: Any) -> Path:
    """Two adapted layers, far from balanced."""
    rng = np.random.default_rng(0)
    rows = RANK * experts
    arrays = {f"{layer}.lora_{part}.weight": rng.standard_normal(shape) * size
              for layer in "xy"
              for part, shape, size in (("A", (rows, INPUTS), 5), ("B", (OUTPUTS, rows), 1))
              }  # fmt: skip
    folder.mkdir()
    save_file(arrays, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(PLAIN | config))
    return folder


def arrays_of(folder: Path) -> Arrays:
    return load_file(folder / "adapter_model.safetensors")


def balanced(model: Path, **options: Any) -> Arrays:
    out = model.parent / "new"
    balance_checkpoint(model, out, **options)
    return arrays_of(out)


def updates(arrays: Arrays, layer: str, experts: int) -> list[np.ndarray]:
    """What PEFT adds to the weight of every expert, its ranks apart in A, side by side in B."""
    a, b = (arrays[f"{layer}.lora_{part}.weight"] for part in "AB")
    return [b[:, e::experts] @ a[e * RANK : (e + 1) * RANK] for e in range(experts)]


@pytest.mark.parametrize("experts", [1, EXPERTS])
def test_experts_in_one_array(tmp_path: Path, experts: int) -> None:
    targets = {"target_parameters": ["mlp.experts.down_proj"]} if experts > 1 else {}
    model = adapter(tmp_path / "model", experts, **targets)
    rows = [row for row in audit(model).rows if row.bond == "x"]
    assert [row.group for row in rows] == [f"GeneralLinear({RANK})"] * experts
    old, new = arrays_of(model), balanced(model)
    norm = 0.0
    for layer in "xy":
        for row, before, after in zip(
            rows, updates(old, layer, experts), updates(new, layer, experts), strict=True
        ):
            assert np.allclose(after, before, rtol=0, atol=1e-11 * np.abs(before).max())
            norm += np.linalg.svd(before, compute_uv=False).sum()
            if layer == "x":
                nuclear = np.linalg.svd(before, compute_uv=False).sum()
                assert row.least_norm == pytest.approx(nuclear)
    assert sum(np.sum(a**2) for a in new.values()) / 2 == pytest.approx(norm)


def test_a_rank_that_is_not_the_configs(tmp_path: Path) -> None:
    found = audit(adapter(tmp_path / "a", 2))
    assert not found.rows
    assert "its 6 rows are not the rank 3" in found.reasons["x.lora_A.weight"]
    assert audit(adapter(tmp_path / "b", 2, rank_pattern={"x": 6, "y": 6})).rows
    mixed = {"rank_pattern": {"x": 6}, "target_parameters": ["w"]}
    with pytest.raises(CheckpointError, match=r"'target_parameters'.* may change what A and B do"):
        balanced(adapter(tmp_path / "c", 2, **mixed))


@pytest.mark.parametrize(
    ("key", "value"),
    [("use_bdlora", {"target_modules_bd_a": ["x"], "nblocks": 2}), ("arrow_config", {"top_k": 3}),
     ("kasa_config", {"beta": 1e-4}), ("monteclora_config", {"num_samples": 8}),
     ("velora_config", {"num_groups": 32})],
)  # fmt: skip
def test_other_layouts_have_no_bond(tmp_path: Path, key: str, value: Any) -> None:
    model = adapter(tmp_path / "model", **{key: value})
    found = audit(model)
    assert not found.rows
    assert key in found.notes[0]
    assert all(key in reason for reason in found.reasons.values())
    with pytest.raises(CheckpointError, match="no bond to balance"):
        balanced(model)


@pytest.mark.parametrize(
    "config",
    [{"a_new_idea": 2}, {"a_new_idea": 0}, {"a_new_idea": "x"}, {"megatron_config": {"a": 1}},
     {"ensure_weight_tying": True}, {"init_lora_weights": "a_new_one"},
     {"r": None, "target_parameters": ["w"]}],
)  # fmt: skip
def test_a_key_that_is_not_understood_is_a_guess(tmp_path: Path, config: dict[str, Any]) -> None:
    model = adapter(tmp_path / "model", **config)
    found = audit(model)
    assert found.guess
    assert found.rows
    assert "may change what A and B do" in found.notes[0]
    for family in (None, "lora"):
        with pytest.raises(CheckpointError, match="may change what A and B do"):
            balanced(model, family=family)
    bonds = [sb.Bond(sb.GeneralLinear(RANK), [("x.lora_A.weight", 0)], [("x.lora_B.weight", 1)])]
    balanced(model, bonds=bonds)


def test_keys_that_are_off_do_nothing(tmp_path: Path) -> None:
    off = {"a": None, "b": False, "c": [], "d": {}, "e": "", "use_bdlora": None,
           "target_parameters": [], "rank_pattern": {}, "init_lora_weights": "pissa_niter_16"
           }  # fmt: skip
    model = adapter(tmp_path / "model", **off)
    assert not audit(model).guess
    balanced(model)


def test_the_check_does_not_share_the_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bond over all experts at once keeps its own invariant, and changes what PEFT computes."""
    model = adapter(tmp_path / "model", EXPERTS, target_parameters=["mlp.experts.down_proj"])
    (claim, *_) = reading_of(open_checkpoint(model), None).claims
    names = [end.name for end in claim.bond.ends]

    class Wrong(sb.Bond):
        def __init__(self, group: Any, left: Any, right: Any, heads: Any, name: str) -> None:
            ends = [(left[0][0], 0)], [(right[0][0], 1)]
            super().__init__(sb.GeneralLinear(RANK * EXPERTS), *ends, name=name)

    assert names == ["x.lora_A.weight", "x.lora_B.weight"]
    monkeypatch.setattr(lora, "Bond", Wrong)
    with pytest.raises(CheckpointError, match="no symmetry of its layer: the output would change"):
        balanced(model)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


# ------------------------------------------------------------------------------------- PEFT


def text(kind: str) -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 11,
             "intermediate_size": 24, "num_key_value_heads": 2}  # fmt: skip
    if kind == "gpt2":
        return tf.GPT2LMHeadModel(
            tf.GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=11, n_positions=8)
        )
    if kind == "mixtral":
        config = tf.MixtralConfig(**sizes, num_local_experts=3, num_experts_per_tok=2)
        config._experts_implementation = "eager"
        return tf.MixtralForCausalLM(config)
    if kind == "resnet":
        layout = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1]}
        return tf.ResNetForImageClassification(tf.ResNetConfig(**layout, layer_type="basic"))
    return tf.LlamaForCausalLM(tf.LlamaConfig(**sizes))


BOTH = ["q_proj", "v_proj"]
PEFT: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama", {"target_modules": BOTH}),
    "rslora, patterns": ("llama", {
        "target_modules": BOTH, "use_rslora": True, "rank_pattern": {"q_proj": 5},
        "alpha_pattern": {"v_proj": 3}}),
    "dora": ("llama", {"target_modules": BOTH, "use_dora": True}),
    "bias": ("llama", {"target_modules": BOTH, "lora_bias": True}),
    "embedding": ("llama", {"target_modules": ["embed_tokens"]}),
    "replicated": ("llama", {"target_modules": BOTH, "layer_replication": [(0, 2), (0, 2)]}),
    "transposed": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "kernels": ("resnet", {"target_modules": ["convolution"]}),
    "dora of kernels": ("resnet", {"target_modules": ["convolution"], "use_dora": True}),
    "experts": ("mixtral", {
        "target_modules": [], "target_parameters": ["experts.gate_up_proj", "experts.down_proj"]}),
    "experts beside": ("mixtral", {
        "target_modules": BOTH, "target_parameters": ["experts.down_proj"]}),
}  # fmt: skip


def peft_output(kind: str, folder: Path) -> np.ndarray:
    """Of the base model with the adapter, as PEFT loads it."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = peft.PeftModel.from_pretrained(text(kind).double().eval(), folder).eval()
    with torch.no_grad():
        seen = {"pixel_values": IMAGES} if kind == "resnet" else {"input_ids": TOKENS}
        return model(**seen).logits.numpy()


def peft_adapter(kind: str, folder: Path, **config: Any) -> Path:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = peft.get_peft_model(text(kind).double(), peft.LoraConfig(r=RANK, **config))
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                size = 3.0 if "A" in name.split("lora_")[1] else 0.3
                value.copy_(size * torch.randn(value.shape, generator=rng, dtype=value.dtype))
    model.save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", PEFT)
def test_peft_computes_the_same(tmp_path: Path, case: str) -> None:
    kind, config = PEFT[case]
    model = peft_adapter(kind, tmp_path / "model", **config)
    old = arrays_of(model)
    new = balanced(model)
    changed = [name for name in old if not np.array_equal(old[name], new[name])]
    assert len(changed) == sum("lora_" in n and "magn" not in n and "bias" not in n for n in old)
    before, after = (peft_output(kind, tmp_path / name) for name in ("model", "new"))
    scale = np.abs(before).max()
    assert np.abs(after - before).max() < 3e-6 * scale  # norms are taken in single precision
    off = {name: 1.5 * a if name in changed else a for name, a in old.items()}
    save_file(off, tmp_path / "new" / "adapter_model.safetensors")
    assert np.abs(peft_output(kind, tmp_path / "new") - before).max() > 1e-3 * scale


@pytest.mark.filterwarnings("ignore")
def test_block_diagonal_adapters_of_peft_are_refused(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    blocks = peft.BdLoraConfig(target_modules_bd_a=["q_proj"], nblocks=3, match_strict=False)
    config = {"target_modules": ["q_proj"], "use_bdlora": blocks}
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_attention_heads": 4, "intermediate_size": 24}
    wide = tf.LlamaForCausalLM(tf.LlamaConfig(**sizes, num_hidden_layers=1, vocab_size=11))
    model = peft.get_peft_model(wide, peft.LoraConfig(r=RANK, **config))
    model.save_pretrained(tmp_path / "model")
    assert "use_bdlora" in audit(tmp_path / "model").notes[0]
    with pytest.raises(CheckpointError, match="no bond to balance"):
        balanced(tmp_path / "model")


def test_every_key_of_peft_is_in_the_table(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    known = {*lora_keys(), "megatron_config", "ensure_weight_tying"}
    assert set(peft.LoraConfig().to_dict()) <= known
    made = peft.LoraConfig(r=RANK, target_modules=["x"]).to_dict()
    made = {k: sorted(v) if isinstance(v, set) else v for k, v in made.items()}
    assert not audit(adapter(tmp_path / "model", **made)).guess


def lora_keys() -> set[str]:
    from symbias.models.families import lora_config

    return lora_config._UNDERSTOOD | set(lora_config._OTHER)
