"""Putting designs into models, without changing what they compute."""

import math
import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from symbias._core.numbers import non_negative
from symbias._core.progress import Report, progress
from symbias.designs import design
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import GroupProduct, Parameterization
from symbias.penalties import Penalty
from symbias.torch.errors import ShapeMismatch, Unreachable, UnsupportedTensor
from symbias.torch.factors import FactorList, Factors
from symbias.torch.normalized import warn_normalized
from symbias.torch.optimizers import refuse_stale, watch
from symbias.torch.owners import (
    Owner,
    as_patterns,
    check_patterns,
    designed,
    find,
    matches,
    owners,
    refuse_held,
    refuse_wrapped,
)
from symbias.torch.proximal import refuse_penalized
from symbias.torch.starting import check_start
from symbias.torch.surgery import attach
from symbias.torch.table import Row, Table
from symbias.torch.transposed import is_transposed, warn_transposed
from symbias.torch.wishes import Design, check_tensor, trainable, wished

LARGE = 4_000_000  # entries in all, from which `apply_matching` shows its progress


def apply(
    module: nn.Module,
    name: str,
    design: Design,
    *,
    charge: float = 0.1,
    factor_dtype: torch.dtype | None = None,
) -> nn.Module:
    """Put factors in the place of a weight; the model computes what it did.

    The factors are ``design.section(weight, charge=charge)``: off the balanced slice, so that
    training can change signs and revive exact zeros. Weight decay on them (`factor_parameters`) is
    then the design's penalty on the weight. Places in ``module`` that share the weight share the
    factors.

    Parameters
    ----------
    module : nn.Module
        Changed in place. Give the whole model, and a dotted name, where weights are tied.
    name : str
        Such as "weight" or "encoder.0.linear.weight".
    design : Parameterization, Penalty, str, or function of (name, weight)
        Of the weight's shape. A penalty, such as ``sb.L1()`` or "l1", is designed for weight decay.
    charge : float
        u^2 - v^2 of a product u v at the start. Training starts ``charge`` times as fast as
        with plain weights where they are near zero, and remembers it for 1 / (2 lr decay) steps.
    factor_dtype : torch.dtype, optional
        Of the factors, which then keep it when the model is cast: torch.float32 for a model in half
        precision. By default the weight's own, and they follow the model.

    Returns
    -------
    nn.Module
        The same module.

    Raises
    ------
    UnknownParameter, ShapeMismatch, AlreadyDesigned, UnsupportedTensor, Unreachable,
    StaleOptimizer, WrappedModel
        See `symbias.torch.errors`; and ValueError where no design reaches a penalty, or the weight
        has one from `penalize`. The model is then as it was.

    Warns
    -----
    ScaleInvariant
        Where a normalisation reads what the weight makes, and nothing else does, as far as that
        can be seen without an input.
    TransposedWeight
        Where groups are slices of a weight that is stored as (in, out).

    Notes
    -----
    Writes into ``module.weight`` in place (``.data``, ``nn.init``) do not reach the factors;
    ``module.weight = tensor`` does.
    """
    refuse_wrapped(module)
    refuse_held(module)
    plan = _plan(find(module, name), design, charge, factor_dtype)
    if plan is None:
        raise TypeError(f"the function gave no design for {name!r}")
    refuse_stale({plan.places[0].name: plan.weight})
    _warn_of(module, [plan])
    _carry_out(plan)
    return module


def apply_matching(
    model: nn.Module,
    pattern: str | list[str],
    design: Design,
    *,
    charge: float = 0.1,
    factor_dtype: torch.dtype | None = None,
) -> Table:
    """`apply` to every parameter whose name matches, and a table of what was touched and why.

    Parameters
    ----------
    pattern : str or list of str
        As for file names: ``"*.mlp.*.weight"``.
    design : as in `apply`
        A function of (name, weight) may return None, to leave a weight alone.

    Raises
    ------
    UnknownParameter
        If a pattern matches nothing, with the nearest names.
    ValueError
        If there is no pattern.
    Unreachable
        If everything that matches was refused, with the first reason.
    StaleOptimizer, WrappedModel
        As in `apply`. The model is then as it was.

    Warns
    -----
    ScaleInvariant, TransposedWeight
        As in `apply`; one of each for all weights.
    """
    refuse_wrapped(model)
    refuse_held(model)
    patterns, places, already = as_patterns(pattern), list(owners(model)), designed(model)
    check_patterns(model, patterns, [*already, *(owner.name for owner, _ in places)])
    rows, plans, refused = _survey(
        model, places, patterns, lambda found: _plan(found, design, charge, factor_dtype)
    )
    rows += [Row(n, f.factors.design.shape, False, "already designed") for n, f in already.items()]
    if refused and not plans:
        raise Unreachable(f"nothing was designed: {refused[0]}")
    refuse_stale({plan.places[0].name: plan.weight for plan in plans})
    _warn_of(model, plans)
    for plan in plans:
        _carry_out(plan)
    return Table(rows)


def _survey(
    model: nn.Module,
    places: list[tuple[Owner, nn.Parameter]],
    patterns: list[str],
    plan_for: Callable[[list[Owner]], "_Plan | None"],
) -> tuple[list[Row], list["_Plan"], list[str]]:
    """A row for each place, the plans of those that match, and why others have none."""
    rows: list[Row] = []
    plans: list[_Plan] = []
    refused: list[str] = []
    seen: dict[int, str] = {}
    tried = set[int]()
    asked = {id(p): p for owner, p in places if matches(owner.name, patterns)}
    with _progress(list(asked.values())) as tell:
        for owner, parameter in places:
            note, plan = "does not match", None
            if id(parameter) in seen:
                note = f"tied to {seen[id(parameter)]}"
            elif "parametrizations." in owner.name:
                note = "inside a parametrization"
            elif matches(owner.name, patterns):
                try:
                    plan = plan_for(find(model, owner.name))
                    note = repr(plan.factors.design) if plan else "left alone by the function"
                except (ValueError, TypeError) as error:
                    note = f"{type(error).__name__}: {error}"
                    refused.append(note)
                tried.add(id(parameter))
                tell(len(tried), owner.name)
            if plan:
                plans.append(plan)
                seen[id(parameter)] = owner.name
            rows.append(Row(owner.name, _shape(parameter), plan is not None, note))
    return rows, plans, refused


def _shape(parameter: nn.Parameter) -> tuple[int, ...]:
    return () if isinstance(parameter, UninitializedParameter) else tuple(parameter.shape)


def _progress(asked: list[nn.Parameter]) -> AbstractContextManager[Report]:
    """A bar on a terminal, where large weights take seconds each; nothing elsewhere."""
    large = sum(math.prod(_shape(p)) for p in asked) >= LARGE
    return progress("apply", len(asked), show=large and sys.stderr.isatty())


def slices(axis: int = 0, size: int = 1) -> Callable[[str, Tensor], Parameterization]:
    """Groups of ``size`` neighbouring slices along an axis, for `apply` and `apply_matching`.

    Output units of a Linear are ``slices(0)`` of its weight, its inputs ``slices(1)``, the heads
    that an output projection reads ``slices(1, head_size)``. The penalty of weight decay lam is
    lam * sum of the groups' Euclidean norms.

    Raises
    ------
    ValueError
        If the axis is not an integer, or the size not a positive one.
    """
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in (axis, size)):
        raise ValueError(f"slices need an integer axis and size, got {axis!r} and {size!r}")
    if size < 1:
        raise ValueError(f"the size of slices must be at least 1, got {size}")

    def factory(name: str, weight: Tensor) -> Parameterization:
        shape = tuple(weight.shape)
        if not -len(shape) <= axis < len(shape) or shape[axis] % size:
            raise ShapeMismatch(f"{name}: {shape} has no slices of {size} along axis {axis}")
        ends = [1] * len(shape)
        ends[axis] = shape[axis]
        labels = np.arange(shape[axis]).reshape(ends) // size
        return GroupProduct(shape, groups=np.broadcast_to(labels, shape))

    return factory


@dataclass
class _Plan:
    """All that can fail has been done; the model has not been touched."""

    places: list[Owner]
    weight: nn.Parameter
    factors: Factors
    parametrization: FactorList


@torch.inference_mode(False)
def _plan(
    places: list[Owner], wish: Design, charge: float, factor_dtype: torch.dtype | None
) -> Any:
    name, weight = places[0].name, places[0].module._parameters[places[0].leaf]
    assert weight is not None
    check_tensor(name, weight)
    refuse_penalized(name, weight)
    if any(getattr(place.module, "sparse", False) for place in places):
        raise UnsupportedTensor(f"{name!r} has sparse gradients: factors need sparse=False")
    non_negative("charge", charge)
    if factor_dtype is not None and not isinstance(factor_dtype, torch.dtype):
        raise TypeError(f"factor_dtype must be a torch.dtype, got {factor_dtype!r}")
    if factor_dtype is not None and not trainable(factor_dtype):
        raise UnsupportedTensor(f"factors cannot be of {factor_dtype}")
    p = wished(name, weight, wish)
    if p is None:
        return None
    if isinstance(p, Penalty):
        p = design(p, WeightDecay(1.0), shape=tuple(weight.shape))
    if p.shape != tuple(weight.shape):
        raise ShapeMismatch(f"{name!r} has shape {tuple(weight.shape)}, its design {p.shape}")
    if not charge > 0:
        raise ValueError(f"charge must be positive, got {charge}: at 0 signs freeze in training")
    dtype = factor_dtype or weight.dtype
    if torch.tensor(charge, dtype=torch.float64).to(dtype) == 0:
        raise ValueError(f"charge {charge} underflows in factors of {dtype}: signs would freeze")
    factors = Factors(p, charge, dtype, weight)
    try:
        theta = factors.section(weight)
    except ValueError as error:
        raise Unreachable(f"{p!r} cannot represent {name!r}: {error}") from error
    if not all(bool(torch.isfinite(t.to(dtype)).all()) for t in theta.values()):
        raise ValueError(f"the factors of {name!r} at charge {charge} overflow in {dtype}")
    check_start(name, p, theta, weight)
    factors.start = theta
    parametrization = FactorList([factors], weight)
    parametrization.pinned = factor_dtype is not None
    parametrization.replaced = weakref.ref(weight)
    parametrization.train(places[0].module.training)
    return _Plan(places, weight, factors, parametrization)


def _warn_of(root: nn.Module, plans: list[_Plan]) -> None:
    """Say what will not be as it was wished; before anything is changed."""
    warn_normalized(root, [plan.places for plan in plans], stacklevel=4)
    wishes = [(plan.places[0], plan.factors.design) for plan in plans]
    warn_transposed(
        [
            (place, WeightDecay(1.0).induced(p).form(p.shape))
            for place, p in wishes
            if is_transposed(place.module)
        ],
        stacklevel=4,
    )


def _carry_out(plan: _Plan) -> None:
    for place in plan.places:
        attach(place.module, place.leaf, plan.parametrization)
    watch(plan.parametrization, plan.parametrization.decayed())
