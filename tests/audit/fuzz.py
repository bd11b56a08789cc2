"""Damaged checkpoints, drawn from a seed: each must end in a result or in one line.

    python -m tests.audit.fuzz --cases 100000 [--first 0] [--folder /dev/shm]

Case ``n`` takes one of the models of `models.py` (or an adapter), damages its header, names,
shapes, dtypes, bytes, config, index or bonds, and has it audited; half of them balanced too. The
same ``n`` is the same damage. Failures are printed; the count of all ends is the last line.
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from symbias.audit import CheckpointError, audit, balance_checkpoint
from symbias.models.bonds_file import read_bonds
from symbias.models.families import FAMILIES
from tests.audit.models import MODELS, Live

Rng = np.random.Generator
DTYPES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1, "F8_E4M3": 1, "I64": 8, "BOOL": 1}
WORDS = ["weight", "bias", "layers", "layer", "0", "1", "7", "self_attn", "q_proj", "lm_head", "x",
         "_layernorm", "norm", "gamma", "model", "module", "", "lora_A", "experts", "qweight"
         ]  # fmt: skip
KEYS = ["model_type", "architectures", "num_attention_heads", "num_key_value_heads", "n_head",
        "hidden_act", "activation_function", "tie_word_embeddings", "num_hidden_layers",
        "rms_norm_eps", "partial_rotary_factor", "rope_parameters", "rope_scaling", "rotary_pct",
        "pruned_heads", "position_embedding_type", "do_layer_norm_before", "auto_map",
        "quantization_config", "peft_type", "r", "target_parameters", "use_bdlora",
        "rank_pattern", "init_lora_weights", "encoder_attention_heads", "num_heads"]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 4, -1, 16, 10**6, 2**70, 0.5, 1e-300, 1e300, "", "relu", "gelu",
    "llama", "bert", "LORA", "LlamaModel", [], [1], ["LlamaForCausalLM"], ["GPTNeoXForCausalLM"],
    {}, {"0": [1]}, {"partial_rotary_factor": 0.5}, {"quant_method": "gptq"}, [None], "\x1b[2J",
]  # fmt: skip
BONDS = """bonds:
  - {name: "b {i}", group: GeneralLinear(3), heads: 2, vectors: [[a, 0]], covectors: [[b, 1]],
     repeat: 2, kind: qk, movable: true}
  - {group: "Rescaling(6, signed)", vectors: [[a, 0, [0, 1, 2, 3, 4, -1]]], covectors: [[b, 1]]}
  - {group: "ComplexScaling(6, half)", vectors: [[a, 0], [v, 0]], covectors: [[b, 1]]}
  - {group: UniformScale, vectors: [[c, null]]}
  - {group: Orthogonal(6), vectors: [[a, 0]], covectors: [[b, 1]]}
  - {group: Translation(6), vectors: [[v, 0]], covectors: [[a, 0]]}
"""


@dataclass
class Draft:
    """A checkpoint before it is written: name to dtype, shape and bytes."""

    arrays: dict[str, tuple[str, list[int], bytes]]
    config: Any
    adapter: bool = False
    bonds: str | None = None


def drafted(arrays: dict[str, np.ndarray], config: Any, **more: Any) -> Draft:
    held = {}
    for name, a in arrays.items():
        whole = np.issubdtype(a.dtype, np.integer)
        values = a if whole else a.astype(np.float32)
        held[name] = ("I64" if whole else "F32", list(a.shape), values.tobytes())
    return Draft(held, config, **more)


@cache
def base(name: str) -> Draft:
    """A model that is whole."""
    rng = np.random.default_rng(0)
    if name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            live = Live(name, Path(folder))
            file = Path(folder) / "config.json"
            return drafted(live.arrays(), json.loads(file.read_text()) if file.exists() else {})
    if name == "bonds":
        shapes: dict[str, tuple[int, ...]] = {"a": (6, 5), "b": (4, 6), "c": (3, 3), "v": (6,)}
        arrays = {n: rng.standard_normal(s) for n, s in shapes.items()}
        return drafted(arrays, {}, bonds=BONDS)
    count = 3 if name == "experts" else 1
    shapes = {f"base.layers.{i}.q_proj.lora_{p}.weight": s for i in range(2)
              for p, s in (("A", (2 * count, 7)), ("B", (9, 2 * count)))}  # fmt: skip
    config = {"peft_type": "LORA", "r": 2, "target_parameters": ["w"] if count > 1 else None}
    return drafted({n: rng.standard_normal(s) for n, s in shapes.items()}, config, adapter=True)


BASES = [*MODELS, *["lora", "experts", "bonds"] * 3]


def pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))]


def spoiled(rng: Rng, text: bytes, most: int = 3) -> bytes:
    """Some bytes changed, cut, or put in."""
    content = bytearray(text)
    for _ in range(int(rng.integers(1, most + 1))):
        if not content:
            break
        place, how = int(rng.integers(len(content))), rng.random()
        if how < 0.6:
            content[place] = int(rng.integers(32, 127))
        elif how < 0.75:
            content[place] = int(rng.integers(256))
        elif how < 0.85:
            del content[place : place + int(rng.integers(1, 9))]
        elif how < 0.97:
            content[place:place] = bytes(rng.integers(0, 256, int(rng.integers(1, 9))).tolist())
        else:
            del content[place:]
    return bytes(content)


def renamed(rng: Rng, name: str) -> str:
    how = rng.random()
    if how < 0.4:
        return spoiled(rng, name.encode(), 1).decode(errors="replace")
    parts = name.split(".")
    at = int(rng.integers(len(parts)))
    parts[at : at + int(rng.integers(0, 2))] = [pick(rng, WORDS)] if how < 0.8 else []
    return ".".join(parts)


def sized(rng: Rng, dtype: str, shape: list[int]) -> tuple[str, list[int], bytes]:
    values = rng.standard_normal(math.prod(shape))
    if dtype in ("F64", "F32", "F16"):
        return dtype, shape, values.astype(f"<f{DTYPES[dtype]}").tobytes()
    if dtype == "BF16":
        return dtype, shape, values.astype("<f4").view("<u2")[1::2].tobytes()
    return dtype, shape, bytes(math.prod(shape) * DTYPES[dtype])


def damage_names(rng: Rng, draft: Draft) -> None:
    name, how = pick(rng, list(draft.arrays)), rng.random()
    if how < 0.5:
        draft.arrays[renamed(rng, name)] = draft.arrays.pop(name)
    elif how < 0.7:
        del draft.arrays[name]
    elif how < 0.85:
        draft.arrays[renamed(rng, name)] = draft.arrays[name]
    else:
        other = pick(rng, list(draft.arrays))
        draft.arrays[name], draft.arrays[other] = draft.arrays[other], draft.arrays[name]


def damage_shapes(rng: Rng, draft: Draft) -> None:
    name = pick(rng, list(draft.arrays))
    dtype, shape, _ = draft.arrays[name]
    shape, how = list(shape), rng.random()
    if how < 0.4 and shape:
        shape[int(rng.integers(len(shape)))] = int(pick(rng, [0, 1, 2, 3, 5, 8, 16, 24, 32, 48]))
    elif how < 0.6:
        shape = shape[1:] if rng.random() < 0.5 else [*shape, int(rng.integers(0, 3))]
    elif how < 0.75:
        shape = shape[::-1]
    else:
        dtype = pick(rng, list(DTYPES))
    draft.arrays[name] = sized(rng, dtype, shape)


def damage_values(rng: Rng, draft: Draft) -> None:
    name = pick(rng, [n for n, (_, _, data) in draft.arrays.items() if data])
    dtype, shape, data = draft.arrays[name]
    if rng.random() < 0.3:
        dtype, scale = "F64", 10.0 ** rng.integers(-320, 309)
        with np.errstate(all="ignore"):
            values = rng.standard_normal(math.prod(shape)) * scale
            data = (values if rng.random() < 0.7 else 0 * values).tobytes()
    else:
        content = bytearray(data)
        for _ in range(int(rng.integers(1, 5))):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        data = bytes(content)
    draft.arrays[name] = dtype, shape, data


def damage_config(rng: Rng, draft: Draft) -> None:
    if not isinstance(draft.config, dict):
        return
    keys = [*KEYS, *draft.config]
    for _ in range(int(rng.integers(1, 3))):
        key = pick(rng, keys)
        if rng.random() < 0.3:
            draft.config.pop(key, None)
        else:
            draft.config[key] = pick(rng, VALUES)
    if rng.random() < 0.02:
        draft.config = pick(rng, VALUES)


def damage_bonds(rng: Rng, draft: Draft) -> None:
    text = draft.bonds or BONDS
    kept = [line for line in text.splitlines() if rng.random() < 0.8]
    draft.bonds = spoiled(rng, "\n".join(kept).encode(), 4).decode(errors="replace")


DAMAGES: list[Callable[[Rng, Draft], None]] = [
    damage_names, damage_names, damage_names, damage_shapes, damage_shapes, damage_values,
    damage_config, damage_config,
]  # fmt: skip


def written(rng: Rng, draft: Draft, folder: Path) -> None:
    """The files; headers, config, index and bytes may be spoiled on the way."""
    spoil, names = rng.random(), list(draft.arrays)
    sharded = rng.random() < 0.15 and len(names) > 1 and not draft.adapter
    parts = [names[::2], names[1::2]] if sharded else [names]
    whole = "adapter_model.safetensors" if draft.adapter else "model.safetensors"
    files = ["a.safetensors", "b.safetensors"] if sharded else [whole]
    for i, (part, file) in enumerate(zip(parts, files, strict=True)):
        header, place = {}, 0
        for name in part:
            dtype, shape, data = draft.arrays[name]
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [place, place + len(data)]}  # fmt: skip
            place += len(data)
        text = json.dumps(header).encode()
        if spoil < 0.15 and i == 0:
            text = spoiled(rng, text)
        length = len(text).to_bytes(8, "little")
        content = length + text + b"".join(draft.arrays[name][2] for name in part)
        if 0.15 < spoil < 0.2 and i == 0:
            content = spoiled(rng, content)
        (folder / file).write_bytes(content)
    if sharded or rng.random() < 0.05:
        weight_map: dict[str, Any] = {n: f for p, f in zip(parts, files, strict=True) for n in p}
        if rng.random() < 0.3:
            weight_map[pick(rng, names)] = pick(rng, [*files, *VALUES])
        text = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
        text = spoiled(rng, text) if rng.random() < 0.3 else text
        (folder / "model.safetensors.index.json").write_bytes(text)
    if rng.random() < 0.95:
        text = json.dumps(draft.config).encode()
        file = "adapter_config.json" if draft.adapter else "config.json"
        (folder / file).write_bytes(spoiled(rng, text) if 0.2 < spoil < 0.25 else text)


def case(n: int, folder: Path) -> str:
    """Damage, audit and balance; returns how it ended, or raises what it must not."""
    rng = np.random.default_rng([7, n])
    name = pick(rng, BASES)
    whole = base(name)
    draft = Draft(dict(whole.arrays), json.loads(json.dumps(whole.config)), whole.adapter,
                  whole.bonds)  # fmt: skip
    for _ in range(int(rng.integers(0, 3))):
        if draft.arrays:
            pick(rng, [damage_bonds] if draft.bonds and rng.random() < 0.6 else DAMAGES)(rng, draft)
    folder.mkdir()
    written(rng, draft, folder)
    family = pick(rng, [*FAMILIES, name.split()[-1]]) if rng.random() < 0.15 else None
    heads = int(rng.integers(1, 9)) if rng.random() < 0.05 else None
    ends = []
    for verb in ("audit", "balance") if rng.random() < 0.5 else ("audit",):
        try:
            ends.append(attempt(verb, draft, folder, family, heads))
        except CheckpointError as error:
            text = str(error)
            assert text, "an error that says nothing"
            assert len(text) < 2000, "an error that is too long"
            assert all(" " <= c <= "~" for c in text), f"more than one printable line: {text!r}"
            ends.append("one line")
    assert not [p for p in folder.parent.iterdir() if p.name.endswith(".partial")], "left over"
    return ", ".join(ends)


def attempt(verb: str, draft: Draft, folder: Path, family: str | None, heads: int | None) -> str:
    bonds = None
    if draft.bonds is not None:
        file = folder / "bonds.yaml"
        file.write_text(draft.bonds, errors="surrogateescape")
        bonds, family = read_bonds(file), None
    out = folder.with_name("new")
    if verb == "audit":
        found = audit(folder, bonds=bonds, family=family, heads=heads)
        json.dumps(found.to_dict(), allow_nan=False)
        return "rows" if found.rows else "reasons"
    try:
        moved = balance_checkpoint(folder, out, bonds=bonds, family=family, heads=heads)
    except CheckpointError:
        assert not out.exists(), "written in spite of the error"
        raise
    json.dumps(moved.to_dict(), allow_nan=False)
    return "copy"


def run(first: int, cases: int, root: Path, *, say: bool = False) -> tuple[Counter[str], list[str]]:
    """How cases ended, and what went wrong in those that ended otherwise."""
    ends: Counter[str] = Counter()
    failures = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n in range(first, first + cases):
            with tempfile.TemporaryDirectory(dir=root) as place:
                try:
                    ends[case(n, Path(place) / "model")] += 1
                except Exception:
                    ends["FAILED"] += 1
                    failures.append(f"case {n}: {traceback.format_exc()}")
                    if say:
                        print(failures[-1], flush=True)
            if say and n % 5000 == 4999:
                print(n + 1, dict(ends), flush=True)
    return ends, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        for name in dict.fromkeys(BASES):
            base(name)
        ends, failures = run(given.first, given.cases, root, say=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(sum(ends.values()), dict(ends))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
