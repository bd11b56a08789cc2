"""Which units can go without a change of the outputs, and what their constants become."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from symbias.torch.removal.rules import Run
from symbias.torch.removal.values import Reading

UNIFORM = 1e-6  # relative spread of a constant: rounding


@dataclass(eq=False)
class Unit:
    """Positions that can only be removed together; for a ``reason``, not at all."""

    root: int
    reason: str | None = None
    places: list[tuple[Tensor, int, np.ndarray]] = field(default_factory=list)  # in parameters
    readings: list[tuple[Reading, np.ndarray]] = field(default_factory=list)


@dataclass
class Plan:
    """What goes.

    Attributes
    ----------
    gone : dict
        For the id of a parameter and an axis of it: which positions go.
    shifts : list
        (id of the weight, what is added to the bias of its module).
    """

    gone: dict[tuple[int, int], np.ndarray]
    shifts: list[tuple[int, Tensor]]
    removed: list[Unit]
    left: list[tuple[Unit, str]]


def units_of(run: Run, tensors: list[Tensor]) -> list[Unit]:
    """All units that somebody reads, in the order of the parameters."""
    units: dict[int, Unit] = {}
    for tensor in tensors:
        for axis, labels in enumerate(run[tensor].axes):
            for root, at in _positions(run, labels):
                unit = units.setdefault(root, Unit(root, run.atoms.reasons.get(root)))
                unit.places.append((tensor, axis, at))
    for reading in run.readings:
        for root, at in _positions(run, reading.weight.axes[reading.axis]):
            if root in units:
                units[root].readings.append((reading, at))
    return [unit for unit in units.values() if unit.readings and unit.places]


def _positions(run: Run, labels: np.ndarray | None) -> list[tuple[int, np.ndarray]]:
    if labels is None:
        return []
    roots = run.atoms.roots(labels)
    order = np.argsort(roots, kind="stable")
    names, begins = np.unique(roots[order], return_index=True)
    return list(zip(names.tolist(), np.split(order, begins[1:]), strict=True))


def plan(run: Run, units: list[Unit], biases: Mapping[int, Tensor | None]) -> Plan:
    """Remove every unit whose contribution to all of its readers is zero, or constant.

    One position of every axis stays. ``biases`` are those of modules by the ids of their weights.
    A reader that is used several times, or reads what it makes, takes no constants: how often it
    adds them may depend on the input.
    """
    uses = Counter(id(r.weight.origin) for r in run.readings)

    def takes(reading: Reading) -> bool:
        weight = reading.weight.origin
        known = weight is not None and id(weight) in biases and uses[id(weight)] == 1
        return known and biases[id(weight)] is reading.bias and not _recurrent(run, reading)

    dead = {id(r): _dead(r, takes(r)) for r in run.readings}
    useless = [u for u in units if all(dead[id(r)][at].all() for r, at in u.readings)]
    removed = [u for u in useless if u.reason is None]
    left = [(u, u.reason) for u in useless if u.reason is not None]
    while full := {key for key, mask in _masks(removed).items() if mask.all()}:
        spared = next(u for u in removed if any((id(t), a) in full for t, a, _ in u.places))
        removed.remove(spared)
        left.append((spared, "the last of its layer"))
    read: dict[int, list[np.ndarray]] = {}
    for unit in removed:
        for reading, at in unit.readings:
            read.setdefault(id(reading), []).append(at)
    shifts = [
        (id(reading.weight.origin), delta)
        for reading in run.readings
        if id(reading) in read
        and (delta := _shift(reading, np.concatenate(read[id(reading)]))) is not None
    ]
    return Plan(_masks(removed), shifts, removed, left)


def check_structure(before: Run, after: Run, removed: list[Unit]) -> None:
    """Every axis of every step has lost the removed units, and no other axis has changed.

    Raises ValueError otherwise: as where a number of heads is written into a model, and heads of
    another size come out.
    """
    gone = np.array([unit.root for unit in removed], dtype=int)
    if [name for name, *_ in before.log] != [name for name, *_ in after.log]:
        raise ValueError("it takes other steps")
    for (name, was, axes), (_, now, _) in zip(before.log, after.log, strict=True):
        for size, new, labels in zip(was, now, axes, strict=True):
            kept = size
            if labels is not None and len(gone):
                kept = int(np.sum(~np.isin(before.atoms.roots(labels), gone)))
            if new != kept:
                raise ValueError(f"an axis of {size} in {name} becomes {new}, not {kept}")


def _recurrent(run: Run, reading: Reading) -> bool:
    """Whether a weight makes some of the units that it reads."""
    axes = [run.atoms.roots(axis) for axis in reading.weight.axes if axis is not None]
    return len(axes) > 1 and bool(np.isin(axes[0], axes[1]).any())


def _masks(units: list[Unit]) -> dict[tuple[int, int], np.ndarray]:
    gone: dict[tuple[int, int], np.ndarray] = {}
    for unit in units:
        for tensor, axis, at in unit.places:
            mask = gone.setdefault((id(tensor), axis), np.zeros(tensor.shape[axis], dtype=bool))
            mask[at] = True
    return gone


def _dead(reading: Reading, biased: bool) -> np.ndarray:
    """Positions along the contraction that add nothing, or a constant that a bias can take."""
    values, along = reading.values, reading.along
    foldable = biased and not reading.uneven and not values.fixed
    constant = values.zero(along) | _uniform(reading) if foldable else values.zero(along)
    return reading.weight.zero(reading.axis) | (values.steady(along) & constant)


def _rows(reading: Reading) -> Tensor:
    return reading.values.tensor.movedim(reading.along, 0).flatten(1)


def _uniform(reading: Reading) -> np.ndarray:
    rows = _rows(reading)
    low, high = rows.amin(1), rows.amax(1)
    return (high - low <= UNIFORM * torch.maximum(low.abs(), high.abs())).cpu().numpy()


def _shift(reading: Reading, at: np.ndarray) -> Tensor | None:
    """What removed constants added to every output of the reader."""
    if reading.values.fixed:
        return None
    index = torch.from_numpy(at).to(reading.weight.tensor.device)
    weight = reading.weight.tensor.movedim(reading.axis, 0)[index].double()
    constants = _rows(reading)[index].double().mean(1)
    while weight.ndim > 2:  # the kernel of a convolution
        weight = weight.sum(-1)
    delta = constants @ weight
    return delta if bool((delta != 0).any()) else None
