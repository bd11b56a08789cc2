"""Penalties on plain weights, and which weights have one."""

import warnings
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from symbias._core.numbers import non_negative
from symbias.mechanisms import WeightDecay
from symbias.parameterizations import Parameterization
from symbias.penalties import GroupLasso, Penalty
from symbias.torch.errors import (
    NoProximalStep,
    ShapeMismatch,
    UnknownParameter,
    Unreachable,
    user_level,
)
from symbias.torch.normalized import has_channels, warn_normalized
from symbias.torch.owners import (
    as_patterns,
    check_patterns,
    designed,
    matches,
    owners,
    refuse_wrapped,
)
from symbias.torch.proximal.maps import ProximalMap
from symbias.torch.table import Row, Table
from symbias.torch.transposed import is_transposed, warn_transposed
from symbias.torch.wishes import Design, check_tensor, wished

PATIENCE = 2  # gradients without a ProximalStep


@dataclass
class Penalized:
    """The penalty strength * R(w) on one weight."""

    name: str
    penalty: Penalty
    strength: float
    proximal: ProximalMap
    partner: Any = None  # weak reference to a weight of the same shape that shares its groups
    stepped: bool = False  # whether an optimizer takes proximal steps for it
    gradients: int = 0

    def all_of(self, weight: Tensor) -> list[Tensor]:
        """The weight, and the one that shares its groups."""
        return [weight] if self.partner is None else [weight, self.partner()]

    def sizes(self, weight: Tensor) -> Tensor:
        """What the penalty sums, in units of the weight."""
        return self.proximal.sizes(self._whole(weight))

    def cut(self, weight: Tensor, threshold: float) -> list[Tensor]:
        """`all_of` with zeros where their sizes are at most ``threshold``."""
        new = self.proximal.cut(self._whole(weight), threshold)
        return [new] if self.partner is None else list(new)

    def _whole(self, weight: Tensor) -> Tensor:
        return weight if self.partner is None else torch.stack(self.all_of(weight))


_penalized = WeakTensorKeyDictionary()


def penalize(model: nn.Module, pattern: str | list[str], penalty: Design, strength: float) -> Table:
    """Penalise weights as they are: with `ProximalStep` training minimises loss + strength R(w).

    For optimizers under which a design does not keep its promise (AdamW), and for exact zeros
    during training: nothing in the model changes. A second call replaces the penalty of a weight;
    a strength of 0 is none.

    Parameters
    ----------
    pattern : str or list of str
        A name, or a pattern as for file names: ``"*.mlp.*.weight"``.
    penalty : Penalty, str, Parameterization, or function of (name, weight)
        As in `symbias.torch.apply`: ``"l1"``, ``sb.GroupLasso(labels)``, ``sb.Nuclear()``,
        ``st.slices(1)``. Of a parameterization, what weight decay makes of it.
    strength : float

    Returns
    -------
    Table
        Which weights are penalised, and by what; and why others are not.

    Raises
    ------
    UnknownParameter
        If a pattern matches nothing, with the nearest names.
    Unreachable
        If everything that matches was refused, with the first reason: as where the penalty has no
        proximal map in closed form (total variation), or the weight is designed.
    WrappedModel
        Penalise the model before it is wrapped.

    Warns
    -----
    ScaleInvariant, TransposedWeight
        As `symbias.torch.apply` does.
    """
    refuse_wrapped(model)
    non_negative("strength", strength)
    patterns, places, ours = as_patterns(pattern), list(owners(model)), designed(model)
    check_patterns(model, patterns, [*ours, *(owner.name for owner, _ in places)])
    rows, found, refused = [], [], []
    for owner, parameter in places:
        if not matches(owner.name, patterns):
            continue
        note, made = "left alone by the function", None
        try:
            made = _penalized_as(owner.name, parameter, penalty, strength)
        except (ValueError, TypeError) as error:
            note = f"{type(error).__name__}: {error}"
            refused.append(note)
        if made:
            found.append((parameter, made))
            note = f"{strength:g} * ({made.penalty.formula}){_replaced(parameter)}"
        rows.append(Row(owner.name, tuple(parameter.shape), made is not None, note))
    for name, factors in ours.items():
        if matches(name, patterns):
            note = "designed: weight decay on its factors is its penalty"
            refused.append(f"{name!r} is {note}")
            rows.append(Row(name, factors.factors.design.shape, False, note))
    if refused and not found:
        raise Unreachable(f"nothing was penalised: {refused[0]}")
    at = {id(p): [o for o, q in places if q is p] for p, _ in found}
    warn_normalized(model, at.values(), stacklevel=3)
    wishes = {id(p): (at[id(p)][0], p, made.penalty) for p, made in found}
    warn_transposed(
        [
            (place, wish.form(tuple(p.shape)))
            for place, p, wish in wishes.values()
            if is_transposed(place.module)
        ],
        stacklevel=3,
    )
    for parameter, made in found:
        _register(parameter, made)
    return Table(rows)


def penalize_channels(model: nn.Module, pattern: str | list[str], strength: float) -> Table:
    r"""Penalise the channels of BatchNorm layers: strength * sum of :math:`|(scale_c, shift_c)|`.

    In front of a normalisation the size of a weight means nothing: it is divided out, so that a
    penalty there only shrinks what can grow back, and a zero scale alone leaves the shift, which
    passes the ReLU. A channel whose scale and shift are zero is gone, and `symbias.torch.shrink`
    removes it with all that makes and reads it.

    Parameters
    ----------
    pattern : str or list of str
        Of module names: ``"*"`` for every BatchNorm of the model.
    strength : float
        0 is none.

    Raises
    ------
    UnknownParameter
        If no BatchNorm with a scale and a shift has such a name.

    References
    ----------
    Liu, Li, Shen, Huang, Yan, Zhang, "Learning efficient convolutional networks through network
    slimming", ICCV 2017: the scales alone.
    """
    refuse_wrapped(model)
    non_negative("strength", strength)
    patterns, rows = as_patterns(pattern), []
    module: Any
    for name, module in model.named_modules():
        if not (has_channels(module) and matches(name, patterns)):
            continue
        count = module.num_features
        penalty = GroupLasso(np.tile(np.arange(count), (2, 1)), weights=np.ones(count))
        made = Penalized(
            f"{name}.weight", penalty, float(strength), ProximalMap(penalty, (2, count)),
            weakref.ref(module.bias),
        )  # fmt: skip
        note = f"{strength:g} * sum of |(scale, shift)|{_replaced(module.weight)}"
        _register(module.weight, made)
        rows += [Row(f"{name}.{leaf}", (count,), True, note) for leaf in ("weight", "bias")]
    if not rows:
        raise UnknownParameter(
            f"no BatchNorm with a scale and a shift matches {patterns} in {type(model).__name__} "
            "(other normalisations are taken over their channels, which cannot go one by one)"
        )
    return Table(rows)


def penalized(tensor: Tensor) -> Penalized | None:
    """The penalty of a weight, if it has one."""
    return _penalized.get(tensor)


def refuse_penalized(name: str, weight: Tensor) -> None:
    """Raise ValueError where a design would end a penalty."""
    for tensor, made in _penalized.items():
        if made.strength and any(one is weight for one in made.all_of(tensor)):
            verb = "penalize" if made.partner is None else "penalize_channels"
            raise ValueError(
                f"{name!r} has a penalty; give {verb} a strength of 0 first, or leave the design "
                "out"
            )


def _replaced(weight: Tensor) -> str:
    before = penalized(weight)
    return (
        "" if before is None else f", in place of {before.strength:g} * ({before.penalty.formula})"
    )


def _penalized_as(
    name: str, weight: nn.Parameter, wish: Design, strength: float
) -> Penalized | None:
    check_tensor(name, weight)
    penalty = wished(name, weight, wish)
    if isinstance(penalty, Parameterization):
        if penalty.shape != tuple(weight.shape):
            raise ShapeMismatch(f"{name!r} has shape {tuple(weight.shape)}, not {penalty.shape}")
        penalty = WeightDecay(1.0).induced(penalty)
    if penalty is None:
        return None
    return Penalized(name, penalty, float(strength), ProximalMap(penalty, tuple(weight.shape)))


def _register(parameter: nn.Parameter, made: Penalized) -> None:
    before = penalized(parameter)
    if before is not None:
        made.stepped = before.stepped
    elif parameter.requires_grad:
        parameter.register_post_accumulate_grad_hook(_missed)
    _penalized[parameter] = made


def _missed(parameter: Tensor) -> None:
    """Warn once where gradients arrive and no optimizer takes proximal steps."""
    made = penalized(parameter)
    if made is None or made.stepped:
        return
    made.gradients += 1
    if made.gradients == PATIENCE:
        warnings.warn(
            f"{made.name!r} is penalised, but no optimizer takes proximal steps for it: call "
            "symbias.torch.ProximalStep(optimizer) once, before training",
            NoProximalStep,
            stacklevel=user_level(),
        )
