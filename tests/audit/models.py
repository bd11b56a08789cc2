"""Small models of every family, made by the libraries that define them, all entries random."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as tf
from safetensors.numpy import save_file
from torch import nn

tf.utils.logging.disable_progress_bar()
TOKENS = torch.tensor([[1, 4, 2, 7, 3, 9], [5, 5, 0, 8, 10, 6]])
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {**SIZES, "vocab_size": 11, "intermediate_size": 24}
LLAMA = {**TEXT, "num_key_value_heads": 2, "rms_norm_eps": 1e-30, "tie_word_embeddings": False}
IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16, dtype=torch.float64).reshape(2, 3, 16, 16).sin()


class PlainResNet(nn.Module):
    """A ResNet in torchvision's names: a stem, a plain block, a block with a new width, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.layer1 = nn.Sequential(Block(4, 4), Block(4, 4))
        self.layer2 = nn.Sequential(Block(4, 6), Block(6, 6))
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        x = torch.max_pool2d(self.bn1(self.conv1(x)).relu(), 2)
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


class Block(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, 5, 3, padding=1, bias=False), nn.BatchNorm2d(5)
        self.conv2, self.bn2 = nn.Conv2d(5, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
        skip = [nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)]
        self.downsample = nn.Sequential(*skip) if width != out else None

    def forward(self, x: Any) -> Any:
        skip = x if self.downsample is None else self.downsample(x)
        return (self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())) + skip).relu()


class TimmViT(nn.Module):
    """Two blocks in the names of timm, queries, keys and values packed."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, 8, 4, 4)})
        parts = {"norm1": nn.LayerNorm(8), "norm2": nn.LayerNorm(8)}
        attention = {"qkv": nn.Linear(8, 24), "proj": nn.Linear(8, 8)}
        units = {"fc1": nn.Linear(8, 12), "fc2": nn.Linear(12, 8)}
        self.blocks = nn.ModuleList(
            nn.ModuleDict({**copy.deepcopy(parts), "attn": nn.ModuleDict(copy.deepcopy(attention)),
                           "mlp": nn.ModuleDict(copy.deepcopy(units))}) for _ in range(2)
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        x = self.patch_embed["proj"](x).flatten(2).mT
        for block in self.blocks:
            packed = block["attn"]["qkv"](block["norm1"](x))
            q, k, v = packed.unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
            x = x + block["attn"]["proj"](mixed.transpose(1, 2).flatten(2))
            hidden = nn.functional.gelu(block["mlp"]["fc1"](block["norm2"](x)))
            x = x + block["mlp"]["fc2"](hidden)
        return self.head(self.norm(x).mean(1))


class PlainVGG(nn.Module):
    def __init__(self, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((3, 4), (4, 5)):
            layers += [nn.Conv2d(a, b, 3), *([nn.BatchNorm2d(b)] if norm else []), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(20, 6), nn.ReLU(), nn.Linear(6, 3))

    def forward(self, x: Any) -> Any:
        return self.classifier(torch.max_pool2d(self.features(x), 6).flatten(1))


def logits(model: Any) -> Any:
    return model(input_ids=TOKENS).logits


def states(model: Any) -> Any:
    return model(input_ids=TOKENS).last_hidden_state


def pixels(model: Any) -> Any:
    return model(pixel_values=IMAGES).logits


def both_towers(model: Any) -> Any:
    return model(input_ids=TOKENS, pixel_values=IMAGES).logits_per_image


def images(model: Any) -> Any:
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps, m.momentum = 1e-30, 0.0
    return model.train()(IMAGES)


def hugging_images(model: Any) -> Any:
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps, m.momentum = 1e-30, 0.0
    return pixels(model.train())


def _gpt2(**more: Any) -> Any:
    config = tf.GPT2Config(n_embd=16, n_layer=2, n_head=4, vocab_size=11, n_positions=8, **more)
    return tf.GPT2LMHeadModel(config)


def _vision(**more: Any) -> dict[str, Any]:
    return {**SIZES, "intermediate_size": 24, "image_size": 16, "patch_size": 4, **more}


_OPT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 24,
        "vocab_size": 11, "word_embed_proj_dim": 16, "max_position_embeddings": 8}  # fmt: skip
_CLIP_TEXT = {**TEXT, "max_position_embeddings": 8, "eos_token_id": 10}
_RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [2, 2]}
Make = Callable[[], nn.Module]
# name -> (model, what to look at, kinds of bonds that must be found)
MODELS: dict[str, tuple[Make, Callable[[Any], Any], set[str]]] = {
    "bert": (lambda: tf.BertModel(tf.BertConfig(**TEXT)), states, {"qk", "vo"}),
    "bert relu": (
        lambda: tf.BertModel(tf.BertConfig(**TEXT, hidden_act="relu")), states, {"qk", "vo", "mlp"}
    ),
    "distilbert": (
        lambda: tf.DistilBertModel(tf.DistilBertConfig(dim=16, n_layers=2, n_heads=4,
                                                       hidden_dim=24, vocab_size=11)),
        states, {"qk", "vo"},
    ),
    "gpt2": (_gpt2, logits, {"qk", "vo", "gain"}),
    "gpt2 relu": (lambda: _gpt2(activation_function="relu"), logits, {"qk", "vo", "gain", "mlp"}),
    "llama": (
        lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**LLAMA)), logits, {"qk", "vo", "mlp", "gain"}
    ),
    "llama with biases": (
        lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**LLAMA, attention_bias=True, mlp_bias=True)),
        logits, {"qk", "vo", "mlp", "gain"},
    ),
    "gemma2": (
        lambda: tf.Gemma2ForCausalLM(tf.Gemma2Config(**{**LLAMA, "tie_word_embeddings": True},
                                                     head_dim=4)),
        logits, {"qk", "vo", "mlp"},
    ),
    "qwen2": (
        lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**LLAMA)), logits, {"qk", "vo", "mlp", "gain"}
    ),
    "qwen3": (
        lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**LLAMA, head_dim=4)), logits,
        {"q-norm scale", "k-norm scale", "qk", "vo", "mlp", "gain"},
    ),
    "gemma": (
        lambda: tf.GemmaForCausalLM(tf.GemmaConfig(**{**LLAMA, "tie_word_embeddings": True},
                                                   head_dim=4)),
        logits, {"qk", "vo", "mlp"},
    ),
    "phi3 partial rotary": (
        lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**LLAMA, pad_token_id=0,
            rope_parameters={"rope_type": "default", "rope_theta": 1e4,
                             "partial_rotary_factor": 0.5})),
        logits, {"qk", "qk free", "vo", "mlp", "gain"},
    ),
    "gpt neox": (
        lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**TEXT, rope_parameters={
            "rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5})),
        logits, {"qk", "qk free", "vo", "gain"},
    ),
    "timm vit": (TimmViT, lambda m: m(IMAGES), {"qk", "vo", "gain"}),
    "mixtral": (
        lambda: tf.MixtralForCausalLM(tf.MixtralConfig(**LLAMA, num_local_experts=3,
                                                       num_experts_per_tok=2)),
        logits, {"qk", "vo", "mlp", "gain"},
    ),
    "vit": (
        lambda: tf.ViTForImageClassification(tf.ViTConfig(**_vision())), pixels,
        {"qk", "vo", "gain"},
    ),
    "dinov2": (
        lambda: tf.Dinov2Model(tf.Dinov2Config(**_vision())),
        lambda m: m(pixel_values=IMAGES).last_hidden_state, {"qk", "vo", "gain"},
    ),
    "beit": (
        lambda: tf.BeitForImageClassification(tf.BeitConfig(**_vision(
            use_relative_position_bias=True))),
        pixels, {"qk", "vo", "gain"},
    ),
    "bart": (
        lambda: tf.BartModel(tf.BartConfig(
            d_model=16, encoder_layers=1, decoder_layers=2, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=24, decoder_ffn_dim=24, vocab_size=11,
            max_position_embeddings=8, activation_function="relu", pad_token_id=1,
            bos_token_id=0, eos_token_id=2)),
        states, {"qk", "vo", "mlp"},
    ),
    "clip": (
        lambda: tf.CLIPVisionModel(tf.CLIPVisionConfig(**_vision())),
        lambda m: m(pixel_values=IMAGES).last_hidden_state, {"qk", "vo"},
    ),
    "clip whole": (
        lambda: tf.CLIPModel(tf.CLIPConfig(text_config=_CLIP_TEXT, vision_config=_vision())),
        both_towers, {"qk", "vo"},
    ),
    "siglip whole": (
        lambda: tf.SiglipModel(tf.SiglipConfig(
            text_config={**_CLIP_TEXT, "num_attention_heads": 2}, vision_config=_vision())),
        both_towers, {"qk", "vo"},
    ),
    "opt": (
        lambda: tf.OPTForCausalLM(tf.OPTConfig(**_OPT)), logits, {"qk", "vo", "mlp", "gain"}
    ),
    "resnet": (
        lambda: tf.ResNetForImageClassification(tf.ResNetConfig(**_RESNET, layer_type="basic")),
        hugging_images, {"before norm", "channels"},
    ),
    "resnet bottleneck": (
        lambda: tf.ResNetForImageClassification(
            tf.ResNetConfig(**_RESNET, layer_type="bottleneck")),
        hugging_images, {"before norm", "channels"},
    ),
    "torchvision resnet": (PlainResNet, images, {"before norm", "channels"}),
    "torchvision vgg": (lambda: PlainVGG(False), images, {"units"}),
    "torchvision vgg bn": (lambda: PlainVGG(True), images, {"before norm", "units"}),
}  # fmt: skip


class Live:
    """A model in double precision, its checkpoint on disk, and its output at any arrays."""

    def __init__(self, name: str, folder: Path) -> None:
        make, self.look, self.kinds = MODELS[name]
        torch.manual_seed(0)
        self.model = make().double().eval()
        with torch.no_grad():
            for key, value in self.model.named_parameters():
                noise = torch.randn_like(value) * 0.3
                value.copy_(noise + (value if value.ndim == 1 or "embed" in key else 0))
        # transformers takes RMS norms in single precision
        config = vars(getattr(self.model, "config", self))
        self.tolerance = 3e-6 if "rms_norm_eps" in config else 1e-9
        self.path = folder
        if isinstance(self.model, tf.PreTrainedModel):
            self.model.save_pretrained(folder)
        else:
            folder.mkdir(exist_ok=True)
            save_file(self.arrays(), folder / "model.safetensors")
            if name == "timm vit":
                (folder / "config.json").write_text('{"num_heads": 2}')

    def arrays(self) -> dict[str, np.ndarray]:
        return {k: v.detach().numpy().copy() for k, v in self.model.state_dict().items()}

    def output(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        tensors = {k: torch.from_numpy(np.array(v)) for k, v in arrays.items()}
        model = self.model
        if set(arrays) <= set(model.state_dict()):
            missing, _ = model.load_state_dict(tensors, strict=False)
            tied = ("lm_head.weight", "embed_tokens.weight")
            assert all(name.endswith(tied) for name in missing)
        else:  # names in memory differ from those on disk
            other = self.path / "other"
            other.mkdir(exist_ok=True)
            whole = {k: np.ascontiguousarray(v) for k, v in arrays.items()}
            save_file(whole, other / "model.safetensors", {"format": "pt"})
            (other / "config.json").write_bytes((self.path / "config.json").read_bytes())
            model = type(model).from_pretrained(other, dtype=torch.float64).eval()
            if model.config.model_type == "mixtral":
                model.set_experts_implementation("eager")  # others lack double precision
        with torch.no_grad():
            return self.look(model).numpy()
