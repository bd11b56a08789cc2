"""The table of cases that every function of the geometry engine is tested on."""

from collections.abc import Callable
from typing import Any

import numpy as np

import symbias as sb
from symbias.symmetry.groups.matrix import MatrixGroup

Params = dict[str, np.ndarray]
CASES: dict[str, Callable[[], tuple[sb.Symmetry, Params]]] = {}
# every group and layout once, for libraries that are slow call by call
FEW = ["shared_heads", "rotary_half", "rotary_partial", "groups_of_unequal_size", "orthogonal"]
FEW += ["layer_norm_shift", "deep_linear", "hadamard_deep", "island"]
FEW += ["boosts_of_pairs", "lorentz", "products_added", "weighted_units", "weighted_three"]
# coupled bonds, and singular orbits of single ones
COUPLED = ["product_wide_null", "residual_stream", "orthogonal_thin", "hadamard_deep", "relu_four"]
COUPLED += ["dead_units", "island", "conv", "normalised_channels", "layer_norm_shift"]
COUPLED += ["deep_linear", "deep_linear_four", "ring", "recurrent_linear", "recurrent_relu"]
COUPLED += ["boosts_on_the_cone", "lorentz_wide", "weighted_layers"]


def case(make: Callable[[], Any]) -> Callable[[], Any]:
    CASES[make.__name__] = make
    return make


def normal(seed: int = 0, **shapes: tuple[int, ...]) -> Params:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def product(r: int) -> sb.Symmetry:
    return sb.Symmetry([sb.Bond(sb.GeneralLinear(r), vectors=[("Q", 0)], covectors=[("P", 1)])])


@case
def product_square() -> Any:
    return product(4), normal(P=(4, 4), Q=(4, 4))


@case
def product_tall() -> Any:
    return product(3), normal(P=(9, 3), Q=(3, 7))


@case
def product_wide() -> Any:
    return product(5), normal(P=(6, 5), Q=(5, 2))


@case
def product_wide_null() -> Any:
    return product(5), normal(P=(2, 5), Q=(5, 2))


@case
def product_zero() -> Any:
    return product(3), {"P": np.zeros((4, 3)), "Q": normal(Q=(3, 2))["Q"]}


@case
def product_identity() -> Any:
    return product(3), {"P": np.eye(3), "Q": 2 * np.eye(3)}


@case
def product_rank_deficient() -> Any:
    params = normal(P=(5, 4), Q=(4, 6))
    params["P"][:, 3] = params["P"][:, 0] + params["P"][:, 1]
    return product(4), params


@case
def product_ill_conditioned() -> Any:
    params = normal(P=(6, 4), Q=(4, 6))
    params["P"] = params["P"] @ np.diag(10.0 ** np.array([0, -2, -4, -6]))
    params["Q"] = np.diag(10.0 ** np.array([0, -1, -5, -6])) @ params["Q"]
    return product(4), params


def attention(heads: int, shared: int, r: int, d: int) -> tuple[list[sb.Bond], Params]:
    q = heads * shared * r
    k = heads * r
    params = normal(
        WQ=(q, d), bQ=(q,), WK=(k, d), bK=(k,), WV=(k, d), bV=(k,), WO=(d, q), seed=heads
    )
    gl = sb.GeneralLinear(r)
    bonds = [
        sb.Bond(gl, [("WQ", 0), ("bQ", 0)], [("WK", 0)], heads=heads, name="qk"),
        sb.Bond(gl, [("WV", 0), ("bV", 0)], [("WO", 1)], heads=heads, name="vo"),
        sb.Bond(sb.Translation(k), [("bK", 0)], name="dead"),
    ]
    return bonds, params


@case
def heads() -> Any:
    bonds, params = attention(heads=3, shared=1, r=2, d=5)
    return sb.Symmetry(bonds), params


@case
def shared_heads() -> Any:
    bonds, params = attention(heads=2, shared=3, r=2, d=5)
    return sb.Symmetry(bonds), params


@case
def residual_stream() -> Any:
    bonds, params = attention(heads=2, shared=1, r=2, d=4)
    params |= normal(E=(7, 4), seed=1)
    reads = [("E", 1), ("WQ", 1), ("WK", 1), ("WV", 1), ("WO", 0)]
    return sb.Symmetry([*bonds, sb.Bond(sb.Orthogonal(4), reads, name="stream")]), params


@case
def orthogonal() -> Any:
    return sb.Symmetry([sb.Bond(sb.Orthogonal(4), [("A", 0)], [("B", 1)])]), normal(
        A=(4, 2), B=(3, 4)
    )


@case
def orthogonal_thin() -> Any:
    return sb.Symmetry([sb.Bond(sb.Orthogonal(4), [("x", None)])]), normal(x=(4,))


@case
def rotary_interleaved() -> Any:
    group = sb.ComplexScaling(4)
    return sb.Symmetry([sb.Bond(group, [("q", 0)], [("k", 0)], heads=2)]), normal(
        q=(16, 3), k=(8, 3)
    )


@case
def rotary_half() -> Any:
    group = sb.ComplexScaling(6, layout="half")
    return sb.Symmetry([sb.Bond(group, [("q", 0)], [("k", 0)])]), normal(q=(6, 3), k=(6, 3))


@case
def rotary_partial() -> Any:
    turned, free = np.array([0, 1, -1, -1, -1]), np.array([-1, -1, 0, 1, 2])
    return sb.Symmetry(
        [
            sb.Bond(sb.ComplexScaling(2), [("q", 0, turned)], [("k", 0, turned)], name="turned"),
            sb.Bond(sb.GeneralLinear(3), [("q", 0, free)], [("k", 0, free)], name="free"),
        ]
    ), normal(q=(5, 4), k=(5, 4))


@case
def hadamard() -> Any:
    return sb.Symmetry([sb.Bond(sb.Rescaling(6), [("u", None)], [("v", None)])]), normal(
        u=(2, 3), v=(2, 3)
    )


def hadamard_chain(depth: int, n: int) -> sb.Symmetry:
    return sb.Symmetry(
        sb.Bond(sb.Rescaling(n), [(f"u{i}", None)], [(f"u{i + 1}", None)]) for i in range(depth - 1)
    )


@case
def hadamard_deep() -> Any:
    return hadamard_chain(4, 6), normal(u0=(6,), u1=(6,), u2=(2, 3), u3=(6,))


@case
def groups_of_unequal_size() -> Any:
    labels = np.array([0, 2, 0, 1, 0, -1, 2])
    bond = sb.Bond(sb.Rescaling(3), [("s", None)], [("v", None, labels)])
    return sb.Symmetry([bond]), normal(s=(3,), v=(7,))


def relu(depth: int, *, biases: bool) -> sb.Symmetry:
    widths = [3, 4, 5, 4, 2][: depth + 1]
    return sb.Symmetry(
        sb.Bond(
            sb.Rescaling(widths[i + 1]),
            [(f"W{i}", 0)] + [(f"b{i}", 0)] * biases,
            [(f"W{i + 1}", 1)],
            name=f"layer{i}",
        )
        for i in range(depth - 1)
    )


def relu_params(seed: int = 0) -> Params:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (n, m) in enumerate(zip([3, 4, 5, 4], [4, 5, 4, 2], strict=True)):
        shapes |= {f"W{i}": (m, n), f"b{i}": (m,)}
    return normal(seed, **shapes)


@case
def relu_two() -> Any:
    return relu(2, biases=True), relu_params()


@case
def relu_three() -> Any:
    return relu(3, biases=False), relu_params()


@case
def relu_four() -> Any:
    return relu(4, biases=True), relu_params()


@case
def relu_ill_conditioned() -> Any:
    params = relu_params()
    spread = 10.0 ** np.linspace(-3, 3, 5)
    params["W1"] = params["W1"] * spread[:, None]
    return relu(4, biases=True), params


@case
def dead_units() -> Any:
    params = relu_params()
    params["W1"][2] = params["b1"][2] = 0
    params["W2"][:, 2] = 0
    params["W3"][:, 1] = 0
    return relu(4, biases=True), params


@case
def island() -> Any:
    params = relu_params()
    params["W0"][:2] = params["b0"][:2] = 0
    params["W1"][:, :2] = 0
    params["W1"][3, :2] = [2.0, -1.0]
    params["W1"][3, 2:] = params["b1"][3] = params["W2"][:, 3] = 0
    return relu(4, biases=True), params


@case
def conv() -> Any:
    bonds = [
        sb.Bond(sb.Rescaling(4), [("C0", 0), ("c0", 0)], [("C1", 1)]),
        sb.Bond(sb.Rescaling(3), [("C1", 0)], [("W", 1, np.repeat(np.arange(3), 2))]),
    ]
    return sb.Symmetry(bonds), normal(C0=(4, 2, 3, 3), c0=(4,), C1=(3, 4, 3, 3), W=(2, 6))


@case
def normalised_channels() -> Any:
    bonds = [
        sb.Bond(sb.UniformScale(), [("W0", 0)], heads=4, name="channels"),
        sb.Bond(sb.Rescaling(4), [("gain", 0), ("shift", 0)], [("W1", 1)], name="relu"),
        sb.Bond(sb.UniformScale(), [("W1", None)], name="whole"),
    ]
    return sb.Symmetry(bonds), normal(W0=(4, 3), gain=(4,), shift=(4,), W1=(2, 4))


@case
def layer_norm_shift() -> Any:
    bonds = [
        sb.Bond(sb.Translation(3), [("W", 1)], name="shift"),
        sb.Bond(sb.UniformScale(), [("W", None), ("b", None)], name="scale"),
        sb.Bond(sb.Translation(1), [("b", 0, np.zeros(5, dtype=int))], name="shift b"),
    ]
    return sb.Symmetry(bonds), normal(W=(5, 3), b=(5,))


@case
def shifts() -> Any:
    bonds = [
        sb.Bond(sb.Translation(3), [("a", 0), ("A", 0)], [("b", 0)], name="sum"),
        sb.Bond(sb.Translation(4), [("dead", None)], name="dead"),
    ]
    return sb.Symmetry(bonds), normal(a=(3,), A=(3, 2), b=(3,), dead=(2, 2))


@case
def deep_linear() -> Any:
    widths = [5, 3, 4, 6]
    bonds = [
        sb.Bond(sb.GeneralLinear(widths[i + 1]), [(f"W{i}", 0)], [(f"W{i + 1}", 1)])
        for i in range(2)
    ]
    return sb.Symmetry(bonds), normal(W0=(3, 5), W1=(4, 3), W2=(6, 4))


@case
def deep_linear_four() -> Any:
    bonds = [sb.Bond(sb.GeneralLinear(3), [(f"W{i}", 0)], [(f"W{i + 1}", 1)]) for i in range(3)]
    return sb.Symmetry(bonds), normal(W0=(3, 4), W1=(3, 3), W2=(3, 3), W3=(4, 3))


@case
def ring() -> Any:
    gl = sb.GeneralLinear(3)
    bonds = [
        sb.Bond(gl, [("B", 1)], [("A", 2)], name="ab"),
        sb.Bond(gl, [("C", 1)], [("B", 2)], name="bc"),
        sb.Bond(gl, [("A", 1)], [("C", 2)], name="ca"),
    ]
    return sb.Symmetry(bonds), normal(A=(4, 3, 3), B=(5, 3, 3), C=(4, 3, 3))


@case
def ring_of_scales() -> Any:
    bonds = [
        sb.Bond(sb.Rescaling(2), [("A", 0)], [("B", 1)]),
        sb.Bond(sb.Rescaling(3), [("B", 0)], [("A", 1)]),
    ]
    return sb.Symmetry(bonds), normal(A=(2, 3), B=(3, 2))


@case
def frustrated_scales() -> Any:
    """A ring whose signs do not close: nothing holds it, and still nothing is free."""
    bonds = [
        sb.Bond(sb.Rescaling(2), [("A", 0), ("B", 1)]),
        sb.Bond(sb.Rescaling(3), [("B", 0)], [("A", 1)]),
    ]
    return sb.Symmetry(bonds), normal(A=(2, 3), B=(3, 2))


@case
def recurrent_linear() -> Any:
    bond = sb.Bond(sb.GeneralLinear(3), [("W", 0), ("W_in", 0)], [("W", 1), ("W_out", 1)])
    return sb.Symmetry([bond]), normal(W=(3, 3), W_in=(3, 2), W_out=(2, 3))


@case
def recurrent_relu() -> Any:
    bond = sb.Bond(sb.Rescaling(4), [("W", 0), ("W_in", 0)], [("W", 1), ("W_out", 1)])
    return sb.Symmetry([bond]), normal(W=(4, 4), W_in=(4, 2), W_out=(2, 4))


@case
def recurrent_island() -> Any:
    """Nothing goes in or out: one scale for all units moves nothing."""
    sym, params = recurrent_relu()
    return sym, params | {"W_in": np.zeros((4, 2)), "W_out": np.zeros((2, 4))}


def boosts(n: int) -> sb.Symmetry:
    """The symmetry of u^2 - v^2."""
    labels = (2 * np.arange(n), 2 * np.arange(n) + 1)
    group = sb.IndefiniteOrthogonal(1, 1)
    return sb.Symmetry([sb.Bond(group, [(("u", "v"), None, labels)], heads=n, name="boosts")])


@case
def boosts_of_pairs() -> Any:
    return boosts(4), normal(u=(2, 2), v=(4,))


@case
def boosts_on_the_cone() -> Any:
    params = normal(u=(4,), v=(4,))
    params["u"][1] = params["v"][1]
    params["u"][2] = -params["v"][2]
    params["u"][3] = params["v"][3] = 0
    return boosts(4), params


@case
def lorentz() -> Any:
    group = sb.IndefiniteOrthogonal(2, 1)
    return sb.Symmetry([sb.Bond(group, [("A", 0)], [("B", 1)])]), normal(A=(3, 2), B=(4, 3))


@case
def lorentz_wide() -> Any:
    """Two signs each and one column: the invariant has rank one."""
    group = sb.IndefiniteOrthogonal(2, 2)
    return sb.Symmetry([sb.Bond(group, [(("a", "b"), 0, ([0, 2], [3, 1]))])]), normal(
        a=(2, 1), b=(2, 1)
    )


@case
def turns_between_arrays() -> Any:
    labels = ([0, 2, 4], [1, 3, 5])
    return sb.Symmetry([sb.Bond(sb.Orthogonal(2), [(("u", "v"), None, labels)], heads=3)]), normal(
        u=(3,), v=(3,)
    )


@case
def products_added() -> Any:
    """P Q + R S = [P R] [Q; S]."""
    labels = ([0, 1], [2, 3, 4])
    ends = [(("Q", "S"), 0, labels)], [(("P", "R"), 1, labels)]
    return sb.Symmetry([sb.Bond(sb.GeneralLinear(5), *ends)]), normal(
        P=(4, 2), R=(4, 3), Q=(2, 6), S=(3, 6)
    )


@case
def weighted_pairs() -> Any:
    """u^2 v."""
    group = sb.WeightedRescaling(5, (1, 2))
    return sb.Symmetry([sb.Bond(group, [("u", 0)], [("v", 0)])]), normal(u=(5,), v=(5,))


@case
def weighted_units() -> Any:
    """Squared ReLU: a relu(W x + b)^2; one unit is dead on one side."""
    group = sb.WeightedRescaling(5, (1, 1, 2))
    params = normal(W=(5, 3), b=(5,), a=(2, 5))
    params["a"][:, 3] = 0
    return sb.Symmetry([sb.Bond(group, [("W", 0), ("b", 0)], [("a", 1)])]), params


@case
def weighted_three() -> Any:
    """u v^3 / s^... of a real power: no closed form for the balanced point."""
    group = sb.WeightedRescaling(3, (1, 3, 0.5))
    labels = np.array([0, 1, 1, 2])
    ends = [("u", None), ("v", 1)], [("s", 0, labels)]
    return sb.Symmetry([sb.Bond(group, *ends)]), normal(u=(3,), v=(2, 3), s=(4, 2))


@case
def weighted_whole() -> Any:
    bond = sb.Bond(sb.WeightedRescaling(1, (1, 2)), [("U", None)], [("V", None)])
    return sb.Symmetry([bond]), normal(U=(2, 3), V=(4,))


@case
def weighted_layers() -> Any:
    """Two layers of squared ReLU: coupled."""
    bonds = [
        sb.Bond(sb.WeightedRescaling(4, (1, 2)), [("W0", 0)], [("W1", 1)]),
        sb.Bond(sb.WeightedRescaling(3, (1, 2)), [("W1", 0)], [("W2", 1)]),
    ]
    return sb.Symmetry(bonds), normal(W0=(4, 3), W1=(3, 4), W2=(2, 3))


PAIRS = [(name, "numpy") for name in CASES]
PAIRS += [(name, "torch") for name in CASES]
PAIRS += [(name, library) for name in FEW for library in ("jax", "strict")]


# ------------------------------------------------- the definition, written without the library


def ends_of(bond: sb.Bond) -> list[tuple[Any, bool, float]]:
    """Every end as it was given, whether it is a covector, and its power."""
    sides = [(spec, False) for spec in bond.vectors] + [(spec, True) for spec in bond.covectors]
    powers = getattr(bond.group, "weights", None) or [1.0] * len(sides)
    return [(spec, dual, p) for (spec, dual), p in zip(sides, powers, strict=True)]


def fronts(spec: Any, params: Params) -> list[np.ndarray]:
    """The arrays of an end with its axis first."""
    names, axis = (spec[0],) if isinstance(spec[0], str) else spec[0], spec[1]
    arrays = [params[n].reshape(-1) if axis is None else params[n] for n in names]
    return [np.moveaxis(a, axis or 0, 0) for a in arrays]


def back(spec: Any, moved: np.ndarray, params: Params) -> Params:
    """The inverse of `fronts`, for arrays laid end to end."""
    names, axis = (spec[0],) if isinstance(spec[0], str) else spec[0], spec[1]
    cuts = np.cumsum([len(a) for a in fronts(spec, params)])[:-1]
    parts = zip(names, np.split(moved, cuts), strict=True)
    return {n: np.moveaxis(p, 0, axis or 0).reshape(params[n].shape) for n, p in parts}


def axis_matrix(bond: sb.Bond, spec: Any, length: int, head: int, a: np.ndarray) -> np.ndarray:
    """The algebra element ``a`` of one head as a matrix over all entries of an axis."""
    r, heads = bond.group.size, bond.heads or 1
    if len(spec) == 3:
        labels = [
            int(i) for i in (spec[2] if isinstance(spec[0], str) else np.concatenate(spec[2]))
        ]
    else:
        copies = length // (heads * r)
        labels = [h * r + i for h in range(heads) for _ in range(copies) for i in range(r)]
    result = np.zeros((length, length))
    diagonal = np.allclose(a, np.diag(np.diag(a)))
    seen: dict[int, int] = {}
    turn = []
    for label in labels:
        turn.append(seen.get(label, 0))
        seen[label] = turn[-1] + 1
    for p in range(length):
        for q in range(length):
            if labels[p] // r == head == labels[q] // r and min(labels[p], labels[q]) >= 0:
                same = p == q if diagonal else turn[p] == turn[q]
                result[p, q] = a[labels[p] % r, labels[q] % r] * same
    return result


def basis(group: Any) -> list[np.ndarray]:
    r = group.size
    if isinstance(group, sb.GeneralLinear):
        return [np.outer(np.eye(r)[i], np.eye(r)[j]) for i in range(r) for j in range(r)]
    if isinstance(group, sb.IndefiniteOrthogonal):
        sign = [1] * group.plus + [-1] * group.minus
        units = [(i, j) for i in range(r) for j in range(i + 1, r)]
        return [
            (
                np.outer(np.eye(r)[i], np.eye(r)[j])
                - sign[i] * sign[j] * np.outer(*np.eye(r)[[j, i]])
            )
            / np.sqrt(2)
            for i, j in units
        ]
    if isinstance(group, sb.Orthogonal):
        pairs = [(i, j) for i in range(r) for j in range(i + 1, r)]
        return [
            (np.outer(np.eye(r)[i], np.eye(r)[j]) - np.outer(np.eye(r)[j], np.eye(r)[i]))
            / np.sqrt(2)
            for i, j in pairs
        ]
    if isinstance(group, sb.ComplexScaling):
        half = r // 2
        planes = [(2 * i, 2 * i + 1) for i in range(half)]
        if group.layout == "half":
            planes = [(i, i + half) for i in range(half)]
        scales, turns = [], []
        for i, j in planes:
            scale, turn = np.zeros((r, r)), np.zeros((r, r))
            scale[i, i] = scale[j, j] = turn[j, i] = 1 / np.sqrt(2)
            turn[i, j] = -1 / np.sqrt(2)
            scales.append(scale)
            turns.append(turn)
        return scales + turns
    return [np.diag(row) for row in np.eye(r)]


def definition(symmetry: sb.Symmetry, params: Params) -> np.ndarray:
    """Every generator, flattened over all arrays of the symmetry: ``(dim, P)``."""
    rows = []
    for bond in symmetry:
        assert not isinstance(bond.group, MatrixGroup) or bond.group.dim == len(basis(bond.group))
        for head in range(bond.heads or 1):
            for a in basis(bond.group):
                tangent = {name: np.zeros(params[name].shape) for name in symmetry.arrays}
                for spec, dual, power in ends_of(bond):
                    x = np.concatenate(fronts(spec, params))
                    m = power * axis_matrix(bond, spec, len(x), head, -a.T if dual else a)
                    if isinstance(bond.group, sb.Translation):
                        x = np.ones(x.shape)
                    for name, moved in back(spec, np.tensordot(m, x, 1), params).items():
                        tangent[name] += moved
                rows.append(np.concatenate([t.reshape(-1) for t in tangent.values()]))
    return np.stack(rows)


def log_pdet(generators: np.ndarray) -> tuple[float, int]:
    """Half the log pseudo-determinant of the Gram, and the number of zero eigenvalues."""
    s = np.linalg.svd(generators, compute_uv=False)
    live = s > 1e-12 * s.max()
    return float(np.sum(np.log(s[live]))), len(generators) - int(live.sum())
