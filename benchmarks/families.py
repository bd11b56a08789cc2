"""Bonds of families of models, found on shrunken twins beside those written by hand, as a table.

``python benchmarks/families.py [NAME ...]`` makes a model of every family with random weights, a
few layers of 12 to 64 channels, finds its bonds, and compares them with what the family's reader
claims of the saved model. "Moved" is the change of the output when all bonds are balanced.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers as tf

from symbias.audit import open_checkpoint
from symbias.audit.gauge import apply, components, least
from symbias.audit.reading import reading_of
from symbias.audit.squares import compressed
from symbias.models import Claim
from symbias.models.twins import find_bonds
from symbias.models.twins.confirm import Function
from symbias.models.twins.inputs import inputs_for, outputs_of
from symbias.symmetry import Bond
from symbias.symmetry.generators import generator_matrix

TEXT: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 32,
}  # fmt: skip
SHARED = {**TEXT, "num_key_value_heads": 2, "head_dim": 10, "tie_word_embeddings": False}
Make = Callable[[], Any]
IMAGES = {"image_size": 12, "patch_size": 4, "hidden_size": 48, "intermediate_size": 40,
          "num_hidden_layers": 3, "num_attention_heads": 4, "num_labels": 5}  # fmt: skip
WRITTEN: dict[str, Make] = {
    "BERT": lambda: tf.BertModel(tf.BertConfig(**TEXT)),
    "RoBERTa": lambda: tf.RobertaModel(tf.RobertaConfig(**TEXT)),
    "DistilBERT": lambda: tf.DistilBertModel(
        tf.DistilBertConfig(vocab_size=50, dim=48, hidden_dim=40, n_layers=3, n_heads=4,
                            max_position_embeddings=32)),
    "GPT-2": lambda: tf.GPT2LMHeadModel(
        tf.GPT2Config(vocab_size=50, n_embd=48, n_inner=40, n_layer=3, n_head=4, n_positions=32)),
    "GPT-NeoX": lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**TEXT)),
    "Llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**SHARED)),
    "Mistral": lambda: tf.MistralForCausalLM(tf.MistralConfig(**SHARED)),
    "Qwen2": lambda: tf.Qwen2ForCausalLM(
        tf.Qwen2Config(**{k: v for k, v in SHARED.items() if k != "head_dim"})),
    "Qwen3": lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**SHARED)),
    "Gemma": lambda: tf.GemmaForCausalLM(tf.GemmaConfig(**SHARED | {"tie_word_embeddings": True})),
    "Gemma 2": lambda: tf.Gemma2ForCausalLM(
        tf.Gemma2Config(**SHARED | {"tie_word_embeddings": True, "num_hidden_layers": 4})),
    "Phi-3": lambda: tf.Phi3ForCausalLM(
        tf.Phi3Config(**TEXT, num_key_value_heads=2, pad_token_id=0,
                      original_max_position_embeddings=32)),
    "Mixtral": lambda: tf.MixtralForCausalLM(
        tf.MixtralConfig(**SHARED, num_local_experts=5, num_experts_per_tok=2)),
    "OPT": lambda: tf.OPTForCausalLM(
        tf.OPTConfig(vocab_size=50, hidden_size=48, ffn_dim=40, num_hidden_layers=3,
                     num_attention_heads=4, max_position_embeddings=32, word_embed_proj_dim=48)),
    "BART": lambda: tf.BartForConditionalGeneration(
        tf.BartConfig(vocab_size=50, d_model=48, encoder_layers=3, decoder_layers=3,
                      encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=40,
                      decoder_ffn_dim=40, max_position_embeddings=32)),
    "ViT": lambda: tf.ViTForImageClassification(tf.ViTConfig(**IMAGES)),
}  # fmt: skip
UNKNOWN: dict[str, Make] = {
    "Gemma 3": lambda: tf.Gemma3ForCausalLM(
        tf.Gemma3TextConfig(**SHARED | {"tie_word_embeddings": True, "num_hidden_layers": 4},
                            layer_types=["sliding_attention", "full_attention"] * 2)),
    "Phi": lambda: tf.PhiForCausalLM(tf.PhiConfig(**TEXT)),
    "StableLM": lambda: tf.StableLmForCausalLM(tf.StableLmConfig(**TEXT | {"hidden_size": 64},
                                                num_key_value_heads=4)),
    "OLMo 2": lambda: tf.Olmo2ForCausalLM(tf.Olmo2Config(**TEXT)),
    "DeepSeek V3": lambda: tf.DeepseekV3ForCausalLM(
        tf.DeepseekV3Config(vocab_size=50, hidden_size=48, intermediate_size=40,
                            moe_intermediate_size=20, num_hidden_layers=3, num_attention_heads=4,
                            num_key_value_heads=4, n_routed_experts=8, n_group=4, topk_group=2,
                            num_experts_per_tok=3, kv_lora_rank=12, q_lora_rank=14,
                            qk_rope_head_dim=8, qk_nope_head_dim=10, v_head_dim=9,
                            first_k_dense_replace=1, max_position_embeddings=32)),
    "GPT-OSS": lambda: tf.GptOssForCausalLM(
        tf.GptOssConfig(**SHARED, num_local_experts=5, num_experts_per_tok=3)),
    "Falcon": lambda: tf.FalconForCausalLM(
        tf.FalconConfig(vocab_size=50, hidden_size=48, ffn_hidden_size=40, num_hidden_layers=3,
                        num_attention_heads=4, max_position_embeddings=32)),
    "BLOOM": lambda: tf.BloomForCausalLM(
        tf.BloomConfig(vocab_size=50, hidden_size=48, n_layer=3, n_head=4)),
    "T5": lambda: tf.T5ForConditionalGeneration(
        tf.T5Config(vocab_size=50, d_model=48, d_kv=10, d_ff=40, num_layers=3, num_heads=4,
                    num_decoder_layers=3)),
    "ModernBERT": lambda: tf.ModernBertModel(
        tf.ModernBertConfig(**TEXT, pad_token_id=0, cls_token_id=1, sep_token_id=2, bos_token_id=1,
                            eos_token_id=2)),
    "DeBERTa": lambda: tf.DebertaV2Model(
        tf.DebertaV2Config(**TEXT, relative_attention=True, position_buckets=8,
                           pos_att_type=["p2c", "c2p"], norm_rel_ebd="layer_norm")),
    "ALBERT": lambda: tf.AlbertModel(tf.AlbertConfig(**TEXT, embedding_size=20)),
    "Mamba": lambda: tf.MambaForCausalLM(
        tf.MambaConfig(vocab_size=50, hidden_size=48, state_size=10, num_hidden_layers=3,
                       time_step_rank=7)),
    "Whisper": lambda: tf.WhisperForConditionalGeneration(
        tf.WhisperConfig(vocab_size=50, num_mel_bins=12, d_model=48, encoder_layers=3,
                         decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4,
                         encoder_ffn_dim=40, decoder_ffn_dim=40, max_source_positions=16,
                         max_target_positions=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                         decoder_start_token_id=1)),
    "Swin": lambda: tf.SwinForImageClassification(
        tf.SwinConfig(image_size=32, patch_size=2, embed_dim=12, depths=[2, 2], num_heads=[2, 4],
                      window_size=4, num_labels=5)),
    "ConvNeXt": lambda: tf.ConvNextForImageClassification(
        tf.ConvNextConfig(image_size=32, num_stages=2, hidden_sizes=[12, 20], depths=[3, 3],
                          num_labels=5)),
    "ResNet": lambda: tf.ResNetForImageClassification(
        tf.ResNetConfig(embedding_size=10, hidden_sizes=[16, 24], depths=[3, 3], num_labels=5)),
    "MobileNetV2": lambda: tf.MobileNetV2ForImageClassification(
        tf.MobileNetV2Config(image_size=64, depth_multiplier=0.25, min_depth=1, num_labels=5,
                             depth_divisible_by=1, hidden_act="relu6")),
    "EfficientNet": lambda: tf.EfficientNetForImageClassification(
        tf.EfficientNetConfig(image_size=64, width_coefficient=0.25, depth_coefficient=1.0,
                              depth_divisor=1, num_labels=5)),
}  # fmt: skip


def randomised(model: Any) -> Any:
    """Every parameter random, in double precision, without dropout."""
    torch.manual_seed(0)
    model = model.double().eval()
    model.config._experts_implementation = "eager"  # others take no float64
    with torch.no_grad():
        for value in model.parameters():
            scale = max(value.shape, default=1) ** -0.5
            value.copy_(torch.randn_like(value) * scale + (value.ndim == 1))
        for name, value in model.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
    return model


def written(model: Any) -> list[Bond]:
    """What the reader of the family claims of the model, saved and opened."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        found = reading_of(open_checkpoint(folder), None)
    return [claim.bond for claim in found.claims]


def missed(ours: list[Bond], theirs: list[Bond], model: Any) -> int:
    """Directions of their bonds that ours do not span, at the model's parameters."""
    arrays = {name: p.detach().numpy() for name, p in model.named_parameters()}
    count = 0
    for bond in theirs:
        if not set(bond.arrays) <= set(arrays):
            count += bond.dim
            continue
        near = [b for b in ours if set(b.arrays) & set(bond.arrays)]
        names = {n: arrays[n] for b in [bond, *near] for n in b.arrays}
        wanted = np.linalg.matrix_rank(generator_matrix(np, [*near, bond], names), tol=1e-9)
        held = np.linalg.matrix_rank(generator_matrix(np, near, names), tol=1e-9) if near else 0
        count += int(wanted - held)
    return count


def moved_by_balancing(bonds: list[Bond], model: Any) -> float:
    """By how much the function moves when every bond is balanced."""
    inputs = inputs_for(model)
    function = Function(model, lambda module: outputs_of(module, inputs))
    arrays = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    for group in components([Claim(bond, "found") for bond in bonds]):
        blocks = {bond.name: compressed(bond, arrays) for bond in group}
        gauge, _ = least(group, arrays, blocks, dict.fromkeys(arrays, 1e-14))
        arrays |= apply(group, gauge, arrays)
    return function.change({name: torch.from_numpy(np.asarray(a)) for name, a in arrays.items()})


HEAD = ("family", "bonds", "dead", "approximate", "unnamed", "not confirmed", "written, missed",
        "moved", "s")  # fmt: skip


def row(name: str, make: Make, known: bool) -> str:
    """One line of the table, and one more for each bond that was not confirmed."""
    model = randomised(make())
    start = time.perf_counter()
    try:
        found = find_bonds(model)
    except Exception as error:  # a table of many models goes on
        return f"| {name} | {type(error).__name__}: {str(error)[:200]} |"
    seconds = time.perf_counter() - start
    bonds = [c.bond for c in found.claims if c.kind != "dead"]
    near = [a.claim.bond for a in found.approximate]
    theirs = written(model) if known else []
    lost = f"{len(theirs)}, {missed([*bonds, *near], theirs, model)}" if known else ""
    cells = [name, len(bonds), len(found.claims) - len(bonds), len(near),
             "+".join(str(a.unnamed) for a in found.accounts), len(found.unconfirmed), lost,
             f"{moved_by_balancing(bonds, model):.0e}", f"{seconds:.0f}"]  # fmt: skip
    why = [f"  not confirmed: {key[:200]}: {text}" for key, text in found.unconfirmed.items()]
    return "\n".join(["| " + " | ".join(map(str, cells)) + " |", *why])


def main() -> None:
    chosen = sys.argv[1:]
    print("| " + " | ".join(HEAD) + " |")
    print("|---" * len(HEAD) + "|", flush=True)
    for known, families in ((False, UNKNOWN), (True, WRITTEN)):
        for name, make in families.items():
            if not chosen or name in chosen:
                print(row(name, make, known), flush=True)


if __name__ == "__main__":
    main()
