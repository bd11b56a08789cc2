"""Small networks of many kinds, with an input each."""

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

IDS = torch.arange(14).reshape(2, 7) % 11
IMAGE = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16).sin()
TOKENS = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 12), nn.GELU(), nn.Linear(12, 3)
    )


def convolutions() -> nn.Module:
    """With padding, BatchNorm, pooling and a flattened image."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(12 * 49, 10),
        nn.ReLU(),
        nn.Linear(10, 4),
    )


class Concatenated(nn.Module):
    """Branches that are concatenated, grouped and transposed convolutions, an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)
        self.grouped = nn.Conv2d(10, 8, 1, groups=2)
        self.up = nn.ConvTranspose2d(8, 5, 2, stride=2)
        self.short = nn.Conv2d(10, 5, 1)
        self.out = nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.a(x).relu(), self.b(x).tanh()], dim=1)
        y = self.up(self.grouped(both).relu())[..., ::2, ::2]
        return self.out((y + self.short(both)).relu())


class Block(nn.Module):
    """Attention by hand, and a gated layer."""

    def __init__(self, width: int = 16, size: int = 4) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.o = nn.Linear(width, width)
        self.up, self.gate, self.down = (
            nn.Linear(width, 24),
            nn.Linear(width, 24),
            nn.Linear(24, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        q, k, v = (
            f(y).view(*x.shape[:2], -1, self.size).transpose(1, 2) for f in (self.q, self.k, self.v)
        )
        weights = (q @ k.transpose(2, 3) / self.size**0.5).softmax(-1)
        x = x + self.o((weights @ v).transpose(1, 2).flatten(2))
        return x + self.down(self.up(x) * self.gate(x).sigmoid())


def lora() -> nn.Module:
    peft = __import__("peft")
    base = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))
    model = peft.get_peft_model(base, peft.LoraConfig(r=8, target_modules=["0", "2"]))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(p)
    return model


def bert() -> nn.Module:
    return hf.BertModel(
        hf.BertConfig(
            **TOKENS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=40,
        )
    )


def gpt2() -> nn.Module:
    return hf.GPT2LMHeadModel(hf.GPT2Config(**TOKENS, n_embd=32, n_layer=2, n_head=4))


def llama() -> nn.Module:
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(
            **TOKENS, hidden_size=32, num_hidden_layers=2, num_attention_heads=8,
            num_key_value_heads=4, intermediate_size=40,
        )
    )  # fmt: skip


def vit() -> nn.Module:
    return hf.ViTModel(
        hf.ViTConfig(
            image_size=16,
            patch_size=4,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=40,
        )
    )


def resnet() -> nn.Module:
    return hf.ResNetForImageClassification(
        hf.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[2, 2], layer_type="basic", num_labels=5
        )
    )


def mobilenet() -> nn.Module:
    return hf.MobileNetV2ForImageClassification(
        hf.MobileNetV2Config(depth_multiplier=0.25, num_labels=5)
    )


def convnext() -> nn.Module:
    return hf.ConvNextForImageClassification(
        hf.ConvNextConfig(
            hidden_sizes=[8, 12, 16, 20],
            depths=[1, 1, 2, 1],
            num_labels=5,
            num_stages=4,
            patch_size=2,
        )
    )


def whisper() -> nn.Module:
    return hf.WhisperModel(
        hf.WhisperConfig(
            **TOKENS, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4,
            decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=40, num_mel_bins=8,
            max_source_positions=16, decoder_start_token_id=1,
        )
    )  # fmt: skip


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)


ROWS = torch.linspace(-2, 2, 30).reshape(5, 6).cos()
SOUND = torch.linspace(-3, 3, 2 * 8 * 32).reshape(2, 8, 32).sin()
WORDS = torch.linspace(-3, 3, 2 * 5 * 16).reshape(2, 5, 16).sin()
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "mlp": (mlp, ROWS),
    "convolutions": (convolutions, IMAGE),
    "concatenated": (Concatenated, IMAGE),
    "attention by hand": (Block, WORDS),
    "torch's encoder": (encoder, WORDS),
    "lora": (lora, ROWS),
    "bert": (bert, {"input_ids": IDS}),
    "gpt2": (gpt2, {"input_ids": IDS}),
    "llama": (llama, {"input_ids": IDS}),
    "vit": (vit, {"pixel_values": IMAGE}),
    "resnet": (resnet, {"pixel_values": IMAGE}),
    "mobilenet": (mobilenet, {"pixel_values": IMAGE}),
    "convnext": (convnext, {"pixel_values": IMAGE}),
    "whisper": (whisper, {"input_features": SOUND, "decoder_input_ids": IDS}),
}


def network(name: str) -> tuple[nn.Module, Any]:
    """One of them, with weights and statistics that are not those of a start."""
    make, example = NETWORKS[name]
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.1 * torch.randn_like(tensor))
        for key, tensor in model.named_buffers():
            if "running" in key:
                tensor.add_(0.3 * torch.rand_like(tensor))
    return model.eval(), example


def outputs(model: nn.Module, example: Any) -> list[Tensor]:
    with torch.no_grad():
        out = model(**example) if isinstance(example, dict) else model(example)
    if isinstance(out, dict):
        out = [v for k, v in out.items() if k != "past_key_values"]
    out = out if isinstance(out, list | tuple) else [out]
    return [t for t in out if isinstance(t, Tensor)]
