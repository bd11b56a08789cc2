"""Removing for real what a trained network does not use."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from symbias.torch.errors import ChangedOutputs, NotRun
from symbias.torch.leftovers import watch_optimizers
from symbias.torch.owners import COLLAPSE, designed, refuse_wrapped
from symbias.torch.proximal import penalized
from symbias.torch.removal.compare import compare, outputs_of
from symbias.torch.removal.configuration import fitted
from symbias.torch.removal.cutting import biases_of, cut, places_of
from symbias.torch.removal.measures import Measures, measure
from symbias.torch.removal.plan import Plan, Unit, check_structure, plan, units_of
from symbias.torch.removal.rules import Run
from symbias.torch.removal.thin import thin_layers
from symbias.torch.removal.tracing import arguments, follow
from symbias.torch.table import Row, Table


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
    tracing and no registration of layers. What an operation without a rule touches is left, and so
    is what the model cannot do without, as heads whose number is written into it. Afterwards every
    step must have the sizes that were planned, and the outputs must be equal.

    What the example does not show cannot be seen: parameters that it does not use are warned of
    (`NotRun`), and a constant that a model multiplies by the length of its input, or by a number of
    repetitions, is taken for what it is on the example.

    Parameters
    ----------
    model : nn.Module
        Plain weights: collapse designs first. Parameters that shrink are new ones: build the
        optimizer afterwards, and penalise again what shall stay penalised.
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
        For a model that is designed or otherwise parametrized, whose outputs are nan or random.
    WrappedModel
        For a model inside a wrapper for distributed training: shrink what it wraps.
    ChangedOutputs
        If the outputs changed, or the smaller model does not run. The model is then as it was.

    Warns
    -----
    NotRun
        For parameters that the example does not use.
    NothingTrains
        Later, where an optimizer of parameters that are gone takes a step.

    Notes
    -----
    Cost: a few forward passes, and a look at every weight.
    """
    _check(model)
    inputs, keywords = arguments(example_input)
    old = dict(model.named_parameters())
    run, wanted = follow(model, inputs, keywords)
    before, again = measure(model, inputs, keywords, run.multiply_adds)
    _check_outputs(model, wanted, again)
    keep, names = _Copy(model), {id(t): n for n, t in model.named_parameters()}
    names |= {id(t): n for n, t in model.named_buffers()}
    unused = tuple(n for n, p in model.named_parameters() if id(p) not in run.used)
    if unused:
        warnings.warn(
            f"{', '.join(unused[:3])}{' and others' * (len(unused) > 3)}: not used by the example "
            "input. What they read may be removed, for the example does not depend on them",
            NotRun,
            stacklevel=2,
        )

    def cut_to(found: Plan) -> set[tuple[int, int]]:
        sizes = cut(model, found)
        after, out = follow(model, inputs, keywords)
        check_structure(run, after, found.removed)
        compare(wanted, out)
        return sizes

    tensors = {id(t): t for _, _, t in places_of(model)}
    units, biases = units_of(run, list(tensors.values())), biases_of(model)
    try:
        found = plan(run, units, biases)
        sizes = cut_to(found)
    except Exception:
        keep.restore()
        _settle(run, units, names, biases, cut_to, keep)
        try:
            found = plan(run, units, biases)
            sizes = cut_to(found)
        except Exception as error:
            keep.restore()
            raise ChangedOutputs(
                f"{type(model).__name__} does not compute the same without what is dead "
                f"({type(error).__name__}: {error}); it is as it was"
            ) from error
    left = _left(found, names)
    thin = _thinned(model, inputs, keywords, wanted) if low_rank else {}
    fits = fitted(model, sizes) if sizes or thin else None
    count = follow(model, inputs, keywords)[0].multiply_adds
    after, _ = measure(model, inputs, keywords, count)
    now = set(map(id, model.parameters()))
    watch_optimizers([p for p in old.values() if id(p) not in now], "shrink")
    return Shrunk(before, after, _changes(old, model, thin), left, fits)


def _settle(
    run: Run,
    units: list[Unit],
    names: dict[int, str],
    biases: dict[int, Tensor | None],
    cut_to: Callable[[Plan], Any],
    keep: "_Copy",
) -> None:
    """Find the layers whose units cannot go, one layer at a time, and give them the reason."""
    layers: dict[str, list[Unit]] = {}
    for unit in units:
        if unit.reason is None:
            layers.setdefault(names[id(unit.places[0][0])], []).append(unit)
    for own in layers.values():
        others = [unit for unit in units if unit.reason is not None]
        found = plan(run, [*own, *others], biases)
        if not found.removed:
            continue
        try:
            cut_to(found)
        except Exception as error:
            for unit in own:
                unit.reason = f"without it {type(error).__name__}: {error}"
        finally:
            keep.restore()


def _thinned(
    model: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], wanted: Any
) -> dict[str, int]:
    """Layers that became two, and their ranks; none where the model does not run with them."""
    keep = _Copy(model)
    thin = dict(thin_layers(model))
    try:
        if thin:
            compare(wanted, follow(model, inputs, keywords)[1])
    except Exception:
        keep.restore()
        return {}
    return thin


def _check_outputs(model: nn.Module, wanted: Any, again: Any) -> None:
    if any(bool(t.isnan().any()) for t in outputs_of(wanted)):
        raise ValueError("an output of the example is nan already")
    try:
        compare(wanted, again)
    except ValueError as error:
        raise ValueError(
            f"{type(model).__name__} gives other outputs each time, in evaluation mode: nothing "
            f"can be compared ({error})"
        ) from None


def _check(model: nn.Module) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("a ScriptModule has no layers to shrink: take the module before scripting")
    refuse_wrapped(model, dict.fromkeys(COLLAPSE, "shrink what it wraps, its .module"))
    if names := designed(model):
        raise ValueError(f"{next(iter(names))!r} is designed: collapse the model first")
    for path, module in model.named_modules():
        if is_parametrized(module):
            raise ValueError(
                f"{path or 'the model'} is parametrized: take that off first, with "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )


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
    for unit, reason in found.left:
        tensor, axis, at = unit.places[0]
        name = names[id(tensor)]
        shapes[name] = tuple(tensor.shape)
        counts[name, axis, tensor.shape[axis], reason] += len(at)
    return Table(
        [
            Row(name, shapes[name], False, f"{n} of {size} along axis {axis}: {reason}")
            for (name, axis, size, reason), n in counts.items()
        ]
    )


def _changes(old: dict[str, nn.Parameter], model: nn.Module, thin: dict[str, int]) -> Table:
    rows = []
    for name, p in model.named_parameters():
        was, shape = old.get(name), tuple(p.shape)
        layer = next((layer for layer in thin if name.startswith(f"{layer}.")), None)
        if layer is not None:
            rows.append(Row(name, shape, True, f"{layer} has rank {thin[layer]}"))
        elif was is None:
            rows.append(Row(name, shape, True, "new: the constants of what is gone"))
        elif was.shape != p.shape:
            lost = penalized(was) is not None and penalized(p) is None
            note = f"was {'x'.join(map(str, was.shape))}{', with a penalty' * lost}"
            rows.append(Row(name, shape, True, note))
    return Table(rows)
