"""A safetensors file from arrays as they are stored."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from symbias.checkpoints.checkpoint import Checkpoint
from symbias.checkpoints.dtypes import to_stored
from symbias.checkpoints.headers import BITS, CheckpointError, Numpy, open_regular, shown

CHUNK = 1 << 26  # bytes copied at a time


def write_file(
    path: Path, source: Checkpoint, changed: Mapping[str, Numpy], metadata: Mapping[str, str]
) -> None:
    """Write the arrays of ``source``: those in ``changed`` rounded to their dtype, of any shape.

    All others are copied byte by byte. Widest dtypes first, so that all are aligned.

    Raises
    ------
    CheckpointError
        Where arrays have scales beside them.
    """
    if source.parts:
        name = next(iter(source.parts.values()))
        raise CheckpointError(f"array {shown(name)!r} is quantized: save it as bfloat16 first")
    order = sorted(source.entries.values(), key=lambda e: (-BITS[e.dtype], e.name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for entry in order:
        new = changed.get(entry.name)
        shape = entry.shape if new is None else new.shape
        size = entry.stop - entry.start if new is None else new.size * BITS[entry.dtype] // 8
        header[entry.name] = {"dtype": entry.dtype, "shape": list(shape),
                              "data_offsets": [start, start + size]}  # fmt: skip
        start += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for entry in order:
            if entry.name in changed:
                values = np.ascontiguousarray(changed[entry.name]).reshape(-1)
                out.write(to_stored(values, entry.dtype).data.cast("B"))
                continue
            with open_regular(entry.file) as stream:
                stream.seek(entry.start)
                for first in range(0, entry.stop - entry.start, CHUNK):
                    out.write(stream.read(min(CHUNK, entry.stop - entry.start - first)))
