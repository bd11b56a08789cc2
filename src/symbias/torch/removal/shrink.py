"""Removing for real what a trained network does not use."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from symbias.torch.errors import ChangedOutputs
from symbias.torch.owners import COLLAPSE, designed, refuse_wrapped
from symbias.torch.removal.configuration import fitted
from symbias.torch.removal.cutting import biased, cut, places_of
from symbias.torch.removal.measures import Measures, measure
from symbias.torch.removal.plan import Plan, plan, units_of
from symbias.torch.removal.rules import tensors_in
from symbias.torch.removal.thin import thin_layers
from symbias.torch.removal.tracing import follow, plain
from symbias.torch.table import Row, Table

CLOSE, ROUNDINGS = 1e-5, 64  # relative difference of outputs: at most, or this often their rounding


@dataclass(frozen=True)
class Shrunk:
    """What was removed, and how much smaller and faster the model is. Print it to read it.

    Attributes
    ----------
    before, after : Measures
        Parameters, multiply-adds and milliseconds of a forward pass.
    table : Table
        The parameters whose shape changed.
    left : Table
        What is as useless, but could not be removed, and why.
    config_fits : bool or None
        Of transformers: whether the model's configuration describes it, so that `save_pretrained`
        and `from_pretrained` work. None for models without one.
    """

    before: Measures
    after: Measures
    table: Table
    left: Table
    config_fits: bool | None

    def __str__(self) -> str:
        a, b = self.before, self.after
        lines = [
            f"parameters {a.parameters:,} -> {b.parameters:,}, "
            f"multiply-adds {a.multiply_adds:,} -> {b.multiply_adds:,}, "
            f"forward pass {a.milliseconds:.3g} -> {b.milliseconds:.3g} ms",
            str(self.table),
        ]
        if self.left.rows:
            lines += ["left, though nothing depends on it:", str(self.left)]
        if self.config_fits is False:
            lines.append(
                "no configuration of this class has these sizes: save it whole (torch.save)"
            )
        return "\n".join(line for line in lines if line)


def shrink(model: nn.Module, example_input: Any, *, low_rank: bool = True) -> Shrunk:
    """Remove units, channels, heads and ranks that contribute nothing, or a constant.

    A unit goes where all that reads it reads it with zeros, or where what reads it sees zeros or
    one constant, which the reader's bias then takes. Channels that are added together (residual
    connections) or meet in a depthwise convolution go together; a head goes with its queries, keys,
    values and outputs, with grouped queries all heads that share keys. The model is changed in
    place and computes what it did: the outputs on ``example_input`` are compared, and everything is
    as it was where they are not equal.

    The model runs once in evaluation mode, operation by operation: plain PyTorch of any kind, no
    tracing and no registration of layers. What an operation without a rule touches is left.

    Parameters
    ----------
    model : nn.Module
        Plain weights: collapse designs first. Build the optimizer afterwards.
    example_input : Tensor, tuple of positional or dict of keyword arguments
        Any that the model takes; a batch of two shows more than one of one.
    low_rank : bool
        Whether linear layers of low rank become two thin ones, where that is smaller: an
        ``nn.Sequential`` in the place of the ``nn.Linear``.

    Returns
    -------
    Shrunk

    Raises
    ------
    ValueError
        For a model that is designed or otherwise parametrized.
    WrappedModel
        For a model inside a wrapper for distributed training: shrink what it wraps.
    ChangedOutputs
        If the outputs changed, or the smaller model does not run. The model is then as it was.

    Notes
    -----
    Cost: a few forward passes, and a look at every weight.
    """
    _check(model)
    inputs, keywords = arguments(example_input)
    before = measure(model, inputs, keywords)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    run, wanted = follow(model, inputs, keywords)
    tensors = {id(t): t for _, _, t in places_of(model)}
    units = units_of(run, list(tensors.values()))
    names = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
    keep = _Copy(model)
    for heads in (True, False):  # with them, or else without
        for unit in units if not heads else ():
            if any(len(at) > 1 for _, _, at in unit.places):
                unit.reason = unit.reason or "the model does not run without such heads"
        found = plan(run, units, biased(model))
        left = _left(found, names)
        try:
            sizes = cut(model, found)
            thin = thin_layers(model) if low_rank else []
            _compare(wanted, follow(model, inputs, keywords)[1])
            break
        except Exception as error:
            keep.restore()
            if not heads:
                raise ChangedOutputs(
                    f"{type(model).__name__} does not compute the same without what is dead "
                    f"({type(error).__name__}: {error}); it is as it was"
                ) from error
    fits = fitted(model, sizes) if sizes or thin else None
    table = _changes(shapes, model, dict(thin))
    return Shrunk(before, measure(model, inputs, keywords), table, left, fits)


def _check(model: nn.Module) -> None:
    refuse_wrapped(model, dict.fromkeys(COLLAPSE, "shrink what it wraps, its .module"))
    if names := designed(model):
        raise ValueError(f"{next(iter(names))!r} is designed: collapse the model first")
    for path, module in model.named_modules():
        if is_parametrized(module):
            raise ValueError(
                f"{path or 'the model'} is parametrized: take that off first, with "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if hasattr(example, "keys"):
        return (), dict(example)
    return (tuple(example) if isinstance(example, tuple | list) else (example,)), {}


def _compare(wanted: Any, found: Any) -> None:
    pairs = zip(_outputs(wanted), _outputs(found), strict=True)
    for a, b in pairs:
        scale = float(a.abs().max()) if a.numel() else 0.0
        off = float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
        if off > max(CLOSE, ROUNDINGS * torch.finfo(a.dtype).eps) * scale or off != off:
            raise ValueError(f"an output is off by {off:.3g} of {scale:.3g}")


def _outputs(out: Any) -> list[Tensor]:
    """Of equal shape before and after: not the keys and values of heads, which are fewer."""
    return [t for t in tensors_in(plain(out)) if t.is_floating_point()]


class _Copy:
    """What a model was made of."""

    def __init__(self, model: nn.Module) -> None:
        self.kept = [(m, [dict(d) for d in _holders(m)], _numbers(m)) for m in model.modules()]

    def restore(self) -> None:
        for module, dicts, numbers in self.kept:
            for now, then in zip(_holders(module), dicts, strict=True):
                now.clear()
                now.update(then)
            vars(module).update(numbers)


def _holders(module: nn.Module) -> list[dict[str, Any]]:
    return [module._parameters, module._buffers, module._modules]


def _numbers(module: nn.Module) -> dict[str, int]:
    return {k: v for k, v in vars(module).items() if type(v) is int}


def _left(found: Plan, names: dict[int, str]) -> Table:
    counts: Counter[tuple[str, int, int, str]] = Counter()
    shapes = {}
    for unit in found.left:
        tensor, axis, at = unit.places[0]
        name = names[id(tensor)]
        shapes[name] = tuple(tensor.shape)
        counts[name, axis, tensor.shape[axis], unit.reason or ""] += len(at)
    return Table(
        [
            Row(name, shapes[name], False, f"{n} of {size} along axis {axis}: {reason}")
            for (name, axis, size, reason), n in counts.items()
        ]
    )


def _changes(shapes: dict[str, tuple[int, ...]], model: nn.Module, thin: dict[str, int]) -> Table:
    rows = []
    now = {name: tuple(p.shape) for name, p in model.named_parameters()}
    for name, shape in now.items():
        was = shapes.get(name)
        layer = next((layer for layer in thin if name.startswith(f"{layer}.")), None)
        if layer is not None:
            rows.append(Row(name, shape, True, f"{layer} has rank {thin[layer]}"))
        elif was is None:
            rows.append(Row(name, shape, True, "new: the constants of what is gone"))
        elif was != shape:
            rows.append(Row(name, shape, True, f"was {'x'.join(map(str, was))}"))
    return Table(rows)
