"""From factors back to plain weights."""

import weakref

import torch
from torch import nn

from symbias._core.numbers import non_negative
from symbias.torch.errors import WrappedModel
from symbias.torch.factors import FactorList
from symbias.torch.leftovers import warn_averaged, watch_optimizers, watch_wrappers
from symbias.torch.owners import COLLAPSE, SHARDED, designed, refuse_wrapped
from symbias.torch.sizes import said_of
from symbias.torch.surgery import detach
from symbias.torch.table import Row, Table


def collapse(model: nn.Module, threshold: float = 0.0) -> Table:
    """Put plain weights in the place of all factors, with hard zeros up to ``threshold``.

    Give the whole model, as to `apply`: places outside of ``model`` keep the factors they share.
    Afterwards the model is of its old classes, with its old state-dict keys in their old order, and
    tied weights are tied; optimizers of the factors are of no more use. Shrinkage is part of the
    penalty and stays in the weights.

    Parameters
    ----------
    threshold : float
        What is set to zero is what the design makes small: whole groups by their Euclidean norm,
        singular values of a matrix product, coordinates behind a transform (differences,
        frequencies), single entries otherwise; in units of the weight, whatever the weights of the
        penalty. At 0 the function is unchanged.

    Returns
    -------
    Table
        A row for each collapsed weight, with how many of its groups, differences or entries are
        zero, and which rank it has; and where their gap is, if the threshold is below it.

    Raises
    ------
    ValueError
        Where nothing is designed, the threshold is negative or not finite, or there is one and a
        weight is not finite, as after training that diverged.
    WrappedModel
        Where a wrapper for distributed training holds the factors, or has sharded them. Later,
        where a DistributedDataParallel that was around the model trains on, or has no buffers left.

    Warns
    -----
    AveragedFactors
        For factors of an ``AveragedModel`` that has averaged some.
    NothingTrains
        Later, where an optimizer of the factors takes a step.
    """
    non_negative("threshold", threshold)
    refuse_wrapped(model, COLLAPSE)
    lists = list(designed(model).values())
    if not lists:
        raise ValueError(f"nothing in {type(model).__name__} is designed")
    warn_averaged(lists, stacklevel=3)
    gone = [p for factors in lists for p in factors.named().values()]
    owner = {id(p): weakref.ref(f) for f in lists for p in f.named().values()}
    table = made_plain(model, threshold)
    del lists
    watch_optimizers(gone, "collapse", kept=lambda p: owner[id(p)]() is not None)
    watch_wrappers(model.modules())
    return table


def made_plain(model: nn.Module, threshold: float) -> Table:
    """`collapse`, without a look at what else holds the factors."""
    places = [
        (f"{path}.{leaf}".lstrip("."), module, leaf, factors)
        for path, module in model.named_modules()
        for leaf, factors in getattr(module, "parametrizations", {}).items()
        if isinstance(factors, FactorList)
    ]
    for name, *_, factors in places:
        if _sharded(factors):
            raise WrappedModel(f"the factors of {name!r} are sharded: {SHARDED}")
    for name, *_, factors in places if threshold else ():
        if not all(bool(torch.isfinite(factor).all()) for factor in factors.named().values()):
            raise ValueError(f"{name!r} has factors that are not finite: no threshold applies")
    weights = {id(factors): plain(factors, threshold) for *_, factors in places}
    rows = []
    notes: dict[int, str] = {}
    for name, module, leaf, factors in places:
        weight, p = weights[id(factors)], factors.factors.design
        if id(factors) not in notes:
            notes[id(factors)] = f"{said_of(p, _designed(factors), weight, threshold)}; {p!r}"
        detach(module, leaf, weight)
        rows.append(Row(name, tuple(weight.shape), True, notes[id(factors)]))
    return Table(rows)


@torch.no_grad()
def _designed(factors: FactorList) -> torch.Tensor:
    """The weight of the design, before what others registered on top."""
    return factors.factors(*factors.named().values())


def _sharded(factors: FactorList) -> bool:
    """Whether this process has a part of them only: flat shards, or tensors of a device mesh."""
    shapes = factors.factors.design.shapes
    return any(
        tuple(t.shape) != shapes[n] or hasattr(t, "device_mesh") for n, t in factors.named().items()
    )


@torch.inference_mode(False)
@torch.no_grad()
def plain(factors: FactorList, threshold: float = 0.0) -> nn.Parameter:
    """The weight of ``factors``, with zeros up to ``threshold``, as a parameter."""
    p, theta = factors.factors.design, factors.named()
    if threshold == 0:  # to the last bit what training saw
        weight = factors()
    else:
        weight = p.cut(theta, threshold)
        for later in list(factors)[1:]:  # registered on top by others
            weight = later(weight)
    trained = next(iter(theta.values())).requires_grad
    weight = weight.detach().clone().to(factors.factors.like.dtype)
    channels_last = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    weight = weight if channels_last else weight.contiguous()
    return nn.Parameter(weight, requires_grad=trained)
