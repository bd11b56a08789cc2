"""What adapter_config.json says about how PEFT uses two thin matrices A and B.

Every key of ``LoraConfig`` is here, by what it does to the layout or the forward pass. One that is
not here may do anything.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from symbias.checkpoints import shown

# who made it, of what model, and a library's name for the megatron_config that may be set beside
_ABOUT = {"task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path",
          "revision", "inference_mode", "runtime_config", "megatron_core"}  # fmt: skip
# which layers, and what is trained beside them
_WHERE = {"target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
          "modules_to_save", "bias", "layer_replication", "trainable_token_indices"}  # fmt: skip
# how training began, or how it drops out; the base weights that some change do not depend on A, B
_START = {"init_lora_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
          "lora_dropout"}  # fmt: skip
_STARTS = r"gaussian|eva|olora|pissa(_niter_\d+)?|corda|loftq|orthogonal|mica|lora_ga"
# numbers that multiply B A, and what becomes of it: added as it is or transposed, at some tokens
# only, to pooled inputs, with a bias, or normalised by magnitudes that are kept beside (DoRA)
_PRODUCT = {"r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "fan_in_fan_out",
            "lora_bias", "use_dora", "use_qalora", "qalora_group_size",
            "alora_invocation_tokens", "target_parameters"}  # fmt: skip
_OTHER = {
    "use_bdlora": "one of A and B is block diagonal, its blocks stored side by side",
    "kasa_config": "a diagonal matrix stands between B and A",
    "arrow_config": "several adapters are mixed by what their products look like",
    "monteclora_config": "random matrices are added to A",
    "velora_config": "inputs are projected on the way to A",
}
LONGEST = 2000  # characters of a pattern that are believed
# initialisations that take the first product of the adapter out of the base weights when it loads
_TAKES_FROM_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
# methods other than LoRA, and what they do to a weight
_METHODS = {
    "LOHA": "adds (A1 B1) * (A2 B2), entry by entry",
    "LOKR": "adds a Kronecker product",
    "ADALORA": "adds B diag(E) A",
    "VERA": "scales two random matrices that all layers share, and that need not be stored",
    "VBLORA": "builds A and B out of a bank of vectors",
    "RANDLORA": "scales random matrices that all layers share",
    "FOURIERFT": "adds a matrix with few frequencies",
    "IA3": "scales activations by vectors",
    "LN_TUNING": "trains the layer norms as they are",
    "OFT": "rotates the weight", "BOFT": "rotates the weight", "HRA": "rotates the weight",
    "PREFIX_TUNING": "adds tokens", "PROMPT_TUNING": "adds tokens", "P_TUNING": "adds tokens",
}  # fmt: skip
_UNDERSTOOD = _ABOUT | _WHERE | _START | _PRODUCT


@dataclass(frozen=True)
class Layout:
    """``rank`` of every pair, None where it may differ; whether ``experts`` may share a pair.

    ``other`` says why the bonds are others than those of a product, ``unknown`` what is set and
    not understood; empty if nothing is.
    """

    rank: int | None = None
    experts: bool = False
    other: str = ""
    unknown: str = ""


def layout_of(config: Mapping[str, object]) -> Layout:
    """The layout of all pairs of an adapter."""
    method = config.get("peft_type", "LORA")
    if method != "LORA":
        return Layout(other=f"peft_type {shown(method)} is not LORA{_what(method)}")
    for key, what in _OTHER.items():
        if config.get(key):
            return Layout(other=f"{key} is set: {what}")
    asked = {key: value for key, value in config.items() if value or _is_number(value)}
    unknown = [key for key in asked if key not in _UNDERSTOOD] if "peft_type" in config else []
    start = config.get("init_lora_weights", True)
    if not isinstance(start, bool | None) and not re.fullmatch(_STARTS, str(start)):
        unknown.append("init_lora_weights")
    experts, patterns = bool(asked.get("target_parameters")), bool(asked.get("rank_pattern"))
    rank = asked.get("r")
    known = isinstance(rank, int) and not isinstance(rank, bool) and rank > 0
    if experts and (patterns or not known):
        unknown.append("target_parameters")  # how many experts share a pair is not known
    what = f"adapter_config: {shown(unknown)} may change what A and B do" if unknown else ""
    exact = known and not patterns
    return Layout(rank if exact and isinstance(rank, int) else None, experts, "", what)


def _what(method: object) -> str:
    """What a method does in place of adding B A, if that is known."""
    known = _METHODS.get(method) if isinstance(method, str) else None
    return f" (it {known})" if known else ""


def scale_of(config: Mapping[str, object], module: str, rank: int) -> float | None:
    """What PEFT multiplies B A by: alpha / r, alpha / sqrt(r) with rsLoRA; None if not known.

    Of the patterns the first key that matches counts, as in PEFT.
    """
    alpha = _by_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    if not _is_number(alpha) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        return None
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def rank_for(config: Mapping[str, object], module: str) -> object:
    """The rank that PEFT gives to a module."""
    return _by_pattern(config.get("rank_pattern"), module, config.get("r"))


def taken_from_base(config: Mapping[str, object]) -> str:
    """The initialisation that changes the base weights by as much as its rank, if there is one."""
    start = str(config.get("init_lora_weights", "")).lower()
    return start if start.startswith(_TAKES_FROM_BASE) else ""


def _by_pattern(patterns: object, module: str, default: object) -> object:
    for key, value in patterns.items() if isinstance(patterns, dict) else ():
        try:
            if len(key) <= LONGEST and re.match(rf"(.*\.)?({key})$", module):
                return value
        except re.error:
            continue
    return default


def _is_number(value: object) -> bool:
    """Whether a value that counts as false may mean something: 0, but not false or nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool)
