"""The residual stream of an RMSNorm transformer: one rotation that every array takes part in.

Its ends are the whole model, so they are never stacked: only the sum of their second moments,
``d x d``, is kept, and arrays pass by in blocks of rows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from symbias.audit.measure import Row
from symbias.audit.threads import blas, in_threads
from symbias.checkpoints import Numpy, Source
from symbias.models import Stream

LARGE = 1024  # channels, above which products are taken in single precision
BLOCK = 1 << 24  # values of a block of rows
CUT = {np.float32: 1e-6, np.float64: 1e-13}  # relative, below which an eigenvalue counts as zero


def measure_stream(stream: Stream, source: Source) -> tuple[Row, Numpy]:
    """The row of the ``Orthogonal(d)`` bond, and the root eigenvalues of its moment.

    With ``k`` the eigenvalues of the moment of all ends, gains absorbed, the orbit Gram has
    eigenvalues ``(k_i + k_j) / 2``, ``i < j``. Time ``O(P d)`` for P parameters; above 1024
    channels in float32, where ``k`` below 1e-6 of the largest counts as zero.
    """
    dtype = np.float32 if stream.size > LARGE else np.float64
    moment = _moment(stream, source, dtype)
    norm = float(np.trace(moment)) / 2
    with blas().limit(limits=1):
        k = np.maximum(np.linalg.eigvalsh(moment), 0.0)[::-1]
    k[k < CUT[dtype] * k[0]] = 0.0
    logs, zeros, low = 0.0, 0, np.inf
    for i in range(stream.size - 1):
        sums = (k[i] + k[i + 1 :]) / 2
        live = sums[sums > 0]
        logs += float(np.sum(np.log(live))) / 2
        zeros += len(sums) - len(live)
        low = min(low, float(np.min(live, initial=np.inf)))
    high = (k[0] + k[1]) / 2 if stream.size > 1 else 1.0
    row = Row(
        bond="residual stream",
        kind="residual",
        layer=None,
        head=None,
        group=f"Orthogonal({stream.size})",
        dimension=stream.size * (stream.size - 1) // 2,
        log_volume=logs,
        imbalance=None,
        norm=norm,
        least_norm=norm,
        stabilizers=zeros,
        dead=None,
        condition=float(np.sqrt(high / low)) if np.isfinite(low) else 1.0,
        note=stream.note,
    )
    return row, np.sqrt(k)[None]


def _moment(stream: Stream, source: Source, dtype: type[np.floating[Any]]) -> Numpy:
    """The sum of ``rows^T rows``: in ``dtype`` within a block of rows, in float64 from there on."""
    total = np.zeros((stream.size, stream.size))
    for part in in_threads(_square, _rows(stream, source, dtype)):
        total += part
    return total


def _square(rows: Numpy) -> Numpy:
    """``rows^T rows``, of which NumPy computes one half (syrk)."""
    product: Numpy = rows.T @ rows
    return product


def _rows(stream: Stream, source: Source, dtype: type[np.floating[Any]]) -> Iterator[Numpy]:
    """All arrays of a stream as rows of its channels, gains absorbed."""
    size = max(stream.size**2, BLOCK)
    for name, gain in stream.readers:
        scale = None if gain is None else source.read(gain) + float(stream.unit_offset)
        for rows in source.rows(name, dtype, size):
            if scale is not None:
                rows *= scale.astype(rows.dtype)
            yield rows
    for name, axis in stream.writers:
        if axis == 1:
            yield from source.rows(name, dtype, size)
        else:
            yield source.read(name, dtype).reshape(stream.size, -1).T
