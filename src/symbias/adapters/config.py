"""adapter_config.json for other ranks, so that every product is scaled as it was."""

import math
import re
from collections import Counter
from collections.abc import Mapping


def config_for(
    config: Mapping[str, object], ranks: Mapping[str, int], scales: Mapping[str, float]
) -> dict[str, object]:
    """The config with a rank for each module, and the alpha that keeps its scale.

    The most frequent rank and alpha are those of the adapter; others go into ``rank_pattern`` and
    ``alpha_pattern``. PEFT takes the first key that a name ends with, as a regular expression: the
    whole name from its start on is that module and no other.
    """
    root = math.sqrt if config.get("use_rslora") else float
    alphas = {name: _plain(scales[name] * root(rank)) for name, rank in ranks.items()}
    rank, alpha = (Counter(v.values()).most_common(1)[0][0] for v in (ranks, alphas))
    return dict(config) | {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": _others(ranks, rank),
        "alpha_pattern": _others(alphas, alpha),
    }


def _others(values: Mapping[str, float], usual: float) -> dict[str, float]:
    return {f"^{re.escape(n)}": value for n, value in values.items() if value != usual}


def _plain(value: float) -> float:
    """An integer where it is one but for rounding, as PEFT writes them."""
    near = round(value)
    return near if math.isclose(value, near, rel_tol=1e-12) else value
