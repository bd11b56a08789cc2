"""What every operation does to units: which axes it ties, reads, keeps, or fixes.

An operation without a rule fixes all units that it meets: they are then left, with its name.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_leaves

from symbias.torch.removal.atoms import Atoms, Labels, merged, segments, split
from symbias.torch.removal.values import Reading, Value

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operations of ``torch.ops.aten``."""

    def register(fn: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, fn))
        return fn

    return register


class Run:
    """Values of a run so far; rules read and write them."""

    def __init__(self) -> None:
        self.atoms, self.readings = Atoms(), list[Reading]()
        self.normalized: set[int] = set()  # ids of weights whose size is divided out
        self.log: list[tuple[str, tuple[int, ...], list[Labels]]] = []  # of every output
        self.used: set[int] = set()  # ids of tensors
        self.multiply_adds = 0
        self._values: dict[int, Value] = {}

    def known(self, tensor: Tensor) -> bool:
        return id(tensor) in self._values

    def __getitem__(self, tensor: Tensor) -> Value:
        """Without units where nothing is known: inputs, indices, statistics."""
        if id(tensor) not in self._values:
            self[tensor] = Value(tensor, [None] * tensor.ndim)
        return self._values[id(tensor)]

    def __setitem__(self, tensor: Tensor, value: Value) -> None:
        self._values[id(tensor)] = value

    def contract(
        self, a: Value, i: int, b: Value, j: int, uneven: bool = False, bias: Tensor | None = None
    ) -> None:
        """Axis i of a and axis j of b are summed over together."""
        lost = a.lost or b.lost
        where = f"behind {lost}" if lost else "from an input of the model"
        self.atoms.meet(a.axes[i], b.axes[j], f"read {where}")
        if b.fixed and b.axes[j] is not None:
            self.readings.append(Reading(b, j, a, i, uneven, bias))
        elif a.fixed and a.axes[i] is not None:
            self.readings.append(Reading(a, i, b, j, uneven, bias))
        else:
            for labels in (a.axes[i], b.axes[j]):
                self.atoms.fix(labels, "multiplied by what depends on the input")


def tensors_in(*trees: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(trees) if isinstance(leaf, Tensor)]


def unknown(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Fix everything."""
    inputs = tensors_in(args, kwargs)
    for tensor in inputs:
        for labels in run[tensor].axes:
            run.atoms.fix(labels, f"used by {name}, which has no rule")
    fixed = bool(inputs) and all(run[t].fixed for t in inputs)
    for tensor in tensors_in(out):
        run[tensor] = Value(tensor, [None] * tensor.ndim, fixed=fixed, lost=name)


@rule(
    "arange",
    "zeros",
    "ones",
    "full",
    "empty",
    "scalar_tensor",
    "zeros_like",
    "ones_like",
    "full_like",
)
def made(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    run[out] = Value(out, [None] * out.ndim, fixed=True)


@rule(
    "clone",
    "_to_copy",
    "contiguous",
    "alias",
    "detach",
    "lift_fresh",
    "lift_fresh_copy",
    "_prelu_kernel",
)
def pointwise(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Axes of equal size are tied; those of size one are spread."""
    out = tensors_in(out)[0]
    values = [run[t] for t in tensors_in(args, kwargs)]
    axes: list[Labels] = []
    constant = {}
    for k, size in enumerate(out.shape):
        here = [(v, k - out.ndim + len(v.shape)) for v in values]
        full = [(v, i) for v, i in here if i >= 0 and v.shape[i] == size]
        labels = full[0][0].axes[full[0][1]]
        for v, i in full[1:]:
            labels = run.atoms.meet(labels, v.axes[i], f"meets what is no unit in {name}")
        axes.append(labels)
        if labels is None:
            continue
        steady = np.ones(size, dtype=bool)
        for v, i in here:
            steady &= v.steady(i) if (v, i) in full else v.fixed
        for v, i in full if name.startswith("mul") else ():
            steady |= v.zero(i) & v.steady(i)
        constant[k] = steady
    fixed = all(v.fixed for v in values)
    origin = values[0].origin if len(values) == 1 and name in ("alias", "detach") else None
    lost = next((v.lost for v in values if v.lost), "")
    run[out] = Value(out, axes, constant, fixed, origin, lost=lost)


def _moved(run: Run, out: Tensor, x: Value, order: Sequence[int | None]) -> None:
    """Axes of the output by the axis of x that each is; None: a new one."""
    axes = [None if k is None else x.axes[k] for k in order]
    constant = {n: x.constant[k] for n, k in enumerate(order) if k is not None and k in x.constant}
    run[out] = Value(out, axes, constant, x.fixed, x.origin, lost=x.lost)


@rule("t")
def t(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    _moved(run, out, run[args[0]], range(out.ndim)[::-1])


@rule("transpose")
def transpose(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    order = list(range(out.ndim))
    a, b = (order[k] for k in args[1:3])
    order[a], order[b] = order[b], order[a]
    _moved(run, out, run[args[0]], order)


@rule("permute")
def permute(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    _moved(run, out, run[args[0]], [k % out.ndim for k in args[1]])


@rule("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten", "_reshape_copy")
def view(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    """Neighbouring axes merge and split."""
    x = run[args[0]]
    axes: list[Labels] = [None] * out.ndim
    constant = {}
    for before, after in segments(x.shape, tuple(out.shape)):
        sizes = [out.shape[k] for k in after]
        flat = merged(run.atoms, [x.axes[k] for k in before], [x.shape[k] for k in before])
        if flat is None or not len(after):
            continue
        steady = np.ones([x.shape[k] for k in before], dtype=bool)
        for n, k in enumerate(before):
            if x.axes[k] is not None:
                ends = [1] * len(before)
                ends[n] = x.shape[k]
                steady &= x.steady(k).reshape(ends)
        for n, labels in zip(after, split(run.atoms, flat, sizes), strict=True):
            axes[n] = labels
            if labels is not None:
                others = tuple(m for m in range(len(sizes)) if after[m] != n)
                constant[n] = np.asarray(steady.reshape(sizes).all(axis=others))
    same = x.tensor.numel() == out.numel() and tuple(s for s in x.shape if s > 1) == tuple(
        s for s in out.shape if s > 1
    )
    run[out] = Value(out, axes, constant, x.fixed, x.origin if same else None, lost=x.lost)


@rule("expand")
def expand(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    x = run[args[0]]
    axes: list[Labels] = [None] * out.ndim
    constant = {}
    for i, labels in enumerate(x.axes):
        k = out.ndim - len(x.shape) + i
        if labels is not None:
            repeats = out.shape[k] // x.shape[i]
            axes[k] = np.repeat(labels, repeats)
            constant[k] = np.repeat(x.steady(i), repeats)
    run[out] = Value(out, axes, constant, x.fixed)


@rule("slice")
def slice_(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    axis = args[1] if len(args) > 1 else 0
    _part(run, out, run[args[0]], axis, slice(*args[2:]) if len(args) > 2 else slice(None))


def _part(run: Run, out: Tensor, x: Value, axis: int, part: slice) -> None:
    axis %= len(x.shape)
    axes, constant = list(x.axes), dict(x.constant)
    if axes[axis] is not None:
        axes[axis] = axes[axis][part]  # type: ignore[index]
        if axis in constant:
            constant[axis] = constant[axis][part]
    run[out] = Value(out, axes, constant, x.fixed)


@rule("split", "split_with_sizes", "chunk")
def split_(run: Run, name: str, args: Any, kwargs: Any, out: Sequence[Tensor]) -> None:
    axis = args[2] if len(args) > 2 else kwargs.get("dim", 0)
    begin = 0
    for piece in out:
        end = begin + piece.shape[axis]
        _part(run, piece, run[args[0]], axis, slice(begin, end))
        begin = end


@rule("select")
def select(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    x, axis = run[args[0]], args[1] % args[0].ndim
    run.atoms.fix(x.axes[axis], "one position of it is selected")
    _moved(run, out, x, [k for k in range(len(x.shape)) if k != axis])
    run[out].origin = None


@rule("cat")
def cat(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    values = [run[t] for t in args[0] if t.ndim == out.ndim and t.numel()]
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    axes: list[Labels] = []
    constant = {}
    for k in range(out.ndim):
        if k != axis:
            labels = values[0].axes[k]
            for v in values[1:]:
                labels = run.atoms.meet(labels, v.axes[k], "meets what is no unit in cat")
            axes.append(labels)
            steady = [v.steady(k) for v in values]
            constant[k] = np.logical_and.reduce(steady)
            continue
        if all(v.axes[k] is None for v in values):
            axes.append(None)
            continue
        parts = []
        for v in values:
            labels = v.axes[k]
            if labels is None:
                labels = run.atoms.new(v.shape[k])
                run.atoms.fix(labels, "from the input of the model")
            parts.append(labels)
        axes.append(np.concatenate(parts))
        constant[k] = np.concatenate([v.steady(k) for v in values])
    run[out] = Value(out, axes, constant, all(v.fixed for v in values))


@rule("mean", "sum", "amax", "amin", "var", "prod", "any", "all")
def reduce_(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    x = run[args[0]]
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    dims = range(len(x.shape)) if dims is None or dims == [] else dims
    gone = {d % len(x.shape) for d in ([dims] if isinstance(dims, int) else dims)}
    for k in gone:
        run.atoms.fix(x.axes[k], f"a {name} is taken over it")
    kept: list[int | None] = [k for k in range(len(x.shape)) if k not in gone]
    if len(x.shape) == out.ndim:
        kept = [None if k in gone else k for k in range(len(x.shape))]
    _moved(run, out, x, kept)
    run[out].origin = None
    if name not in ("mean", "amax", "amin"):  # how often a constant counts depends on the input
        _zeros_only(run[out])


def _zeros_only(value: Value) -> None:
    """Of its constants, keep those that are zero."""
    value.constant = {k: c & value.zero(k) for k, c in value.constant.items()}


@rule("_softmax", "_log_softmax")
def softmax(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    x = run[args[0]]
    run.atoms.fix(x.axes[args[1] % out.ndim], "a softmax is taken over it")
    _moved(run, out, x, range(out.ndim))
    _zeros_only(run[out])


@rule(
    "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "avg_pool1d",
    "max_pool3d_with_indices", "avg_pool3d", "_adaptive_avg_pool3d", "adaptive_max_pool2d",
    "upsample_nearest2d", "upsample_bilinear2d", "upsample_nearest1d", "upsample_bicubic2d",
    "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "reflection_pad1d",
)  # fmt: skip
def spatial(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Axes whose size may change are no units; channels stay."""
    out, x = tensors_in(out)[0], run[args[0]]
    channel = 1 if len(x.shape) > 2 else 0
    if name == "constant_pad_nd":
        moved = len(x.shape) - len(args[1]) // 2
        changed = [k for k in range(moved, len(x.shape)) if x.shape[k] != out.shape[k]]
    else:
        changed = list(range(channel + 1, len(x.shape)))
    for k in changed:
        run.atoms.fix(x.axes[k], f"{name} acts along it")
    _moved(run, out, x, [None if k in changed else k for k in range(len(x.shape))])
    run[out].origin = None


@rule("embedding")
def embedding(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    weight, index = run[args[0]], run[args[1]]
    run.atoms.fix(weight.axes[0], "looked up by number")
    axes: list[Labels] = [*[None] * len(index.shape), weight.axes[1]]
    run[out] = Value(out, axes, {out.ndim - 1: weight.zero(1)}, index.fixed and weight.fixed)


@rule("native_layer_norm")
def layer_norm(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    x, count = run[args[0]], len(args[1])
    first = len(x.shape) - count
    for tensor in tensors_in(args[2:4]):
        for k in range(count):
            run.atoms.meet(x.axes[first + k], run[tensor].axes[k], "normalised over")
    for k in range(count):
        run.atoms.fix(x.axes[first + k], "a LayerNorm is taken over it")
    _moved(run, out[0], x, range(len(x.shape)))
    run[out[0]].constant = {k: c for k, c in x.constant.items() if k < first}


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
      "cudnn_batch_norm")  # fmt: skip
def batch_norm(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Scale and shift channel by channel, from running statistics."""
    x = run[args[0]]
    labels = x.axes[1]
    for tensor in tensors_in(args[1:5]):
        labels = run.atoms.meet(labels, run[tensor].axes[0], "normalised by channel")
    if name != "_native_batch_norm_legit_no_training" and args[5] is True:
        run.atoms.fix(labels, "normalised by statistics of the batch")
    run.normalized.add(id(x.maker))
    scale = run[args[1]] if args[1] is not None else None
    axes: list[Labels] = [x.axes[0], labels, *x.axes[2:]]
    steady = x.steady(1) | (scale.zero(0) if scale is not None else False)
    run[out[0]] = Value(out[0], axes, {1: steady})
