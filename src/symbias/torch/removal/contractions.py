"""Rules of what multiplies and sums: matrix products, convolutions, attention."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from symbias.torch.removal.atoms import Labels
from symbias.torch.removal.rules import Run, rule, tensors_in
from symbias.torch.removal.values import Value

ALONE = "meets what is no unit"


@rule("mm")
def mm(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    _product(run, run[args[0]], run[args[1]], out)


@rule("addmm")
def addmm(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    bias = run[args[0]]
    _product(run, run[args[1]], run[args[2]], out, bias.origin)
    made = run[out]
    for k in range(len(bias.shape)):
        axis = out.ndim - len(bias.shape) + k
        if bias.shape[k] == out.shape[axis]:
            made.axes[axis] = run.atoms.meet(made.axes[axis], bias.axes[k], ALONE)
    if not bias.fixed:
        made.constant, made.fixed = {}, False


def _product(run: Run, a: Value, b: Value, out: Tensor, bias: Tensor | None = None) -> None:
    """Matrices (n, k) and (k, m)."""
    run.contract(a, 1, b, 0, bias=bias)
    made = Value(out, [a.axes[0], b.axes[1]], fixed=a.fixed and b.fixed)
    if b.fixed:
        made.maker = b.origin
        made.constant[1] = _steady(b.tensor.t(), a.steady(1))
    if a.fixed:
        made.constant[0] = _steady(a.tensor, b.steady(0))
    run[out] = made


def _steady(weight: Tensor, inputs: np.ndarray) -> np.ndarray:
    """Outputs (rows of ``weight``) that read steady inputs alone."""
    moving = torch.from_numpy(~inputs).to(weight.device)
    read = (weight != 0).flatten(2).any(2) if weight.ndim > 2 else weight != 0
    return (~(read & moving).any(1)).cpu().numpy()


@rule("bmm")
def bmm(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    a, b = run[args[0]], run[args[1]]
    batch = run.atoms.meet(a.axes[0], b.axes[0], ALONE)
    run.contract(a, 2, b, 1)
    axes: list[Labels] = [batch, a.axes[1], b.axes[2]]
    made = Value(out, axes, {0: a.steady(0) & b.steady(0)}, a.fixed and b.fixed)
    made.constant[0] &= made.zero(0)  # what others sum to depends on the input's length
    run[out] = made


@rule("baddbmm")
def baddbmm(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    bmm(run, name, args[1:], kwargs, out)
    for labels in run[args[0]].axes:
        run.atoms.fix(labels, "added in baddbmm")
    run[out].constant = {}


@rule(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_attention_math",
)
def attention(run: Run, name: str, args: Any, kwargs: Any, out: Any) -> None:
    """Heads go together; groups of queries with the keys and values that they share."""
    q, k, v = (run[tensor] for tensor in args[:3])
    heads, shared = q.shape[1], k.shape[1]
    labels = q.axes[1]
    for other in (k, v):
        spread = other.axes[1]
        if spread is not None and shared != heads:
            spread = np.repeat(spread, heads // shared)
        labels = run.atoms.meet(labels, spread, ALONE)
    for one in (q, k, v):
        run.atoms.fix(one.axes[2], "attended over")
        run.atoms.fix(one.axes[3], "a dimension within heads")
    masks = [t for t in tensors_in(args[3:], kwargs) if t.ndim == 4 and t.shape[1] == heads > 1]
    for mask in masks:
        labels = run.atoms.meet(labels, run[mask].axes[1], "masked head by head")
    steady = np.repeat(v.steady(1), heads // shared)
    run[out[0]] = Value(out[0], [q.axes[0], labels, None, None], {1: steady})


@rule("convolution")
def convolution(run: Run, name: str, args: Any, kwargs: Any, out: Tensor) -> None:
    x, w, (padding, transposed, groups) = run[args[0]], run[args[1]], (args[4], args[6], args[8])
    if not w.fixed or (transposed and groups > 1):
        for labels in (x.axes[1], w.axes[0], w.axes[1]):
            run.atoms.fix(labels, "convolved in a way that has no rule")
    into, made = (1, 0) if not transposed else (0, 1)
    labels = w.axes[made]
    weight = w.tensor.transpose(0, 1) if transposed else w.tensor
    if groups == 1:
        run.contract(x, 1, w, into, uneven=transposed or any(padding), bias=args[2])
        steady = _steady(weight, x.steady(1))
    else:
        labels, steady = _grouped(run, x, w, groups)
    if args[2] is not None:
        labels = run.atoms.meet(labels, run[args[2]].axes[0], ALONE)
    axes: list[Labels] = [x.axes[0], labels, *[None] * (out.ndim - 2)]
    for axis in x.axes[2:]:
        run.atoms.fix(axis, "convolved along it")
    run[out] = Value(out, axes, {1: steady}, x.fixed and w.fixed, maker=w.origin)


def _grouped(run: Run, x: Value, w: Value, groups: int) -> tuple[Labels, np.ndarray]:
    """Depthwise: an input goes with its outputs. Else groups stay equal: each loses the same."""
    rows, inputs = w.axes[0], x.axes[1]
    outs, ins = w.shape[0] // groups, w.shape[1]
    parts = zip(w.tensor.chunk(groups), np.split(x.steady(1), groups), strict=True)
    steady = np.concatenate([_steady(kernel, inputs) for kernel, inputs in parts])
    if rows is None or inputs is None:
        run.atoms.fix(rows if inputs is None else inputs, ALONE)
        return None, steady
    if ins == 1:
        rows = run.atoms.meet(rows, np.repeat(inputs, outs), "depthwise")
        run.atoms.fix(w.axes[1], "the one input of a channel")
        return rows, steady
    table, made = inputs.reshape(groups, ins), rows.reshape(groups, outs)
    for k in range(1, groups):
        run.atoms.tie(table[0], table[k])
        run.atoms.tie(made[0], made[k])
    labels = run.atoms.meet(w.axes[1], table[0], ALONE)
    for k in range(groups):
        at = slice(k * ins, (k + 1) * ins)
        values = Value(x.tensor[:, at], [x.axes[0], table[k]], {1: x.steady(1)[at]}, x.fixed)
        kernel = Value(w.tensor[k * outs : (k + 1) * outs], [made[k], labels], fixed=True)
        run.contract(values, 1, kernel, 1)
    return rows, steady
