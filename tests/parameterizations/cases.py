"""One table of parameterizations, tested by every property that all of them must have."""

import numpy as np

import symbias as sb

_RNG = np.random.default_rng(0)

CASES = {
    "hadamard": sb.Hadamard(7),
    "hadamard-scalar": sb.Hadamard(()),
    "hadamard-empty": sb.Hadamard(0),
    "hadamard-matrix": sb.Hadamard((3, 4)),
    "hadamard-depth-3": sb.Hadamard(6, depth=3),
    "hadamard-depth-5": sb.Hadamard((2, 3), depth=5),
    "groups-rows": sb.GroupProduct((3, 4)),
    "groups-columns": sb.GroupProduct((3, 4), axis=-1),
    "groups-unequal": sb.GroupProduct(7, groups=["b", "a", "b", "c", "b", "a", "b"]),
    "product": sb.MatrixProduct(4, 3),
    "product-square": sb.MatrixProduct(3, 3),
    "product-wide-inner": sb.MatrixProduct(2, 3, rank=5),
    "product-depth-4": sb.MatrixProduct(3, 5, depth=4),
    "total-variation": sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(8)),
    "total-variation-penalised-level": sb.Synthesis(sb.CumulativeSum(free=0), sb.Hadamard(8)),
    "trend": sb.Synthesis(sb.CumulativeSum(2), sb.Hadamard(7)),
    "trend-spacing": sb.Synthesis(
        sb.CumulativeSum(2, spacing=_RNG.uniform(0.5, 2, 8)), sb.Hadamard(7)
    ),
    "cubic-spacing": sb.Synthesis(
        sb.CumulativeSum(3, spacing=_RNG.uniform(0.5, 2, 8)), sb.Hadamard(6)
    ),
    "cosine": sb.Synthesis(sb.Cosine(), sb.Hadamard(9)),
    "cosine-columns": sb.Synthesis(sb.Cosine(), sb.Hadamard((5, 2))),
    "matrix": sb.Synthesis(_RNG.normal(size=(6, 6)), sb.Hadamard(6)),
    "matrix-free": sb.Synthesis(sb.Matrix(_RNG.normal(size=(6, 6)), free=2), sb.Hadamard(4)),
    "weights": sb.Synthesis(sb.Diagonal([1.0, 2.0, 0.5]), sb.Hadamard(3)),
    "weights-zero": sb.Synthesis(sb.Diagonal([1.0, 0.0, 0.5, 0.0]), sb.Hadamard(2)),
    "plain": sb.Plain((2, 3)),
    "elastic": sb.Linked(sb.Hadamard(5), sb.ElasticLink(1.0, 0.5)),
    "log": sb.Linked(sb.Hadamard((2, 3)), sb.ExponentialLink(0.1)),
    "power": sb.Linked(sb.Plain(4), sb.PowerLink(1.5, 2.0)),
    "tree": sb.Synthesis(sb.TreeSum([2, 0, -1, 0, 2, -1, 5]), sb.Hadamard(5)),
    "grid": sb.Synthesis(sb.GridSum(3, 4), sb.Hadamard(6)),
    "grid-order-2": sb.Synthesis(sb.GridSum(4, 3, order=2), sb.Hadamard(2)),
    "haar": sb.Synthesis(sb.Wavelet("haar", 8), sb.Hadamard(8)),
    "db2-free": sb.Synthesis(sb.Wavelet("db2", 8, level=1, free=True), sb.Hadamard(4)),
    "biorthogonal": sb.Synthesis(sb.Wavelet("bior1.3", 12, level=1), sb.Hadamard(12)),
    "haar-image": sb.Synthesis(sb.Wavelet("haar", (4, 4)), sb.Hadamard(16)),
    "joint-jumps": sb.Synthesis(sb.CumulativeSum(), sb.GroupProduct((4, 3), axis=0)),
    "latent": sb.Synthesis(
        sb.Copies([[0, 1, 2], [2, 3], [1, 4]], 5), sb.GroupProduct(7, groups=[0, 0, 0, 1, 1, 2, 2])
    ),
    "intervals": sb.Synthesis(sb.IntervalSum([1.0, 0.5, 0.0, 2.0], 0.7), sb.Hadamard(10)),
    "parts": sb.Parts(
        (2, 3),
        [
            ([0, 4, 2], sb.Hadamard(3)),
            ([1], sb.Plain(1)),
            ([3, 5], sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(1))),
        ],
    ),
    "sum": sb.Sum([sb.Hadamard((2, 3)), sb.MatrixProduct(2, 3)]),
    "nested": sb.Synthesis(
        sb.CumulativeSum(), sb.Synthesis(sb.Diagonal([1.0, 0.0, 3.0, 4.0]), sb.Hadamard(3))
    ),
}

# reached, or accurate, only on a range
NARROW = {
    "tabulated": sb.Linked(sb.Hadamard(5), sb.TabulatedLink(lambda w: w + np.sqrt(w))),
    "radial": sb.Radial(4, 3, sb.PowerLink(2.0)),
    "radial-scalar": sb.Radial((), 2),
}
