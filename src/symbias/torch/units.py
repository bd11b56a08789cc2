"""Groups of slices as a symmetry names them: hidden units, channels and heads."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from torch import Tensor

from symbias.models import Claim
from symbias.parameterizations import GroupProduct
from symbias.symmetry import Bond, End, Rescaling, Translation, WeightedRescaling
from symbias.torch.errors import ShapeMismatch


def units(
    bonds: Iterable[Bond | Claim], axis: int = 0
) -> Callable[[str, Tensor], GroupProduct | None]:
    """Groups along an axis as bonds have them, for `apply` and `apply_matching`.

    A group is what one factor of a bond's group moves: a component of a `Rescaling` (a hidden unit,
    a channel), a head of other groups. So ``apply_matching(model, "*.weight", units(found.claims,
    axis=1))`` lets weight decay switch off the units and heads that `find_bonds` found, wherever
    they lie along the axis, in packed or shared arrays too. As in `slices` the penalty of weight
    decay lam is lam * sum of the groups' Euclidean norms.

    Parameters
    ----------
    bonds : iterable of Bond or Claim
        Such as ``find_bonds(...).claims``. Translations, and bonds on whole arrays, name no units.
    axis : int
        Of the weights: 0 for what a Linear makes, 1 for what it reads.

    Returns
    -------
    function of (name, weight)
        None for a weight that no bond splits along the axis. Where two bonds do, the one with more
        units counts; slices that neither moves are groups of their own. It raises ShapeMismatch for
        a weight with another length along the axis than the bond's.

    Raises
    ------
    ValueError
        If no bond names any units.
    """
    named: dict[tuple[str, int], list[tuple[End, bool]]] = {}
    for bond in (item.bond if isinstance(item, Claim) else item for item in bonds):
        for end, split in _splitting(bond):
            named.setdefault((end.name, end.axis or 0), []).append((end, split))
    if not named:
        raise ValueError("none of these bonds names units or heads along an axis")

    def factory(name: str, weight: Tensor) -> GroupProduct | None:
        shape = tuple(weight.shape)
        ends = named.get((name, axis % max(len(shape), 1)), [])
        if not ends or axis not in range(-len(shape), len(shape)):
            return None
        labels = _merged([_labels(name, end, split, shape[axis]) for end, split in ends])
        wide = [1] * len(shape)
        wide[axis] = shape[axis]
        return GroupProduct(shape, groups=np.broadcast_to(labels.reshape(wide), shape))

    return factory


def _splitting(bond: Bond) -> Iterator[tuple[End, bool]]:
    """Ends along an axis that the bond splits into several units, and whether by components."""
    split = isinstance(bond.group, Rescaling | WeightedRescaling)
    count = (bond.heads or 1) * (bond.group.size if split else 1)
    if isinstance(bond.group, Translation) or count == 1:
        return
    yield from ((end, split) for end in bond.ends if end.axis is not None)


def _labels(name: str, end: End, split: bool, length: int) -> np.ndarray:
    """The unit of every entry along the axis; -1 where the bond leaves it alone."""
    heads, size = end.heads, end.size
    if length % (heads * size) if end.rows is None else length != end.length:
        raise ShapeMismatch(f"{name}: {length} entries along axis {end.axis} do not fit its bond")
    rows = end.rows
    if rows is None:
        rows = np.arange(length).reshape(heads, -1, size).transpose(0, 2, 1)
    numbers = np.arange(heads * size).reshape(heads, size, 1)
    numbers = numbers if split else numbers // size
    labels = np.full(length, -1)
    labels[rows[rows >= 0]] = np.broadcast_to(numbers, rows.shape)[rows >= 0]
    return labels


def _merged(every: list[np.ndarray]) -> np.ndarray:
    """One group for each entry, of the finest labels that name it, or else its own."""
    merged, used = np.full(len(every[0]), -1), 0
    for labels in sorted(every, key=lambda labels: -labels.max()):
        new = (merged < 0) & (labels >= 0)
        merged[new] = used + labels[new]
        used += int(labels.max()) + 1
    alone = merged < 0
    merged[alone] = used + np.arange(int(alone.sum()))
    return np.asarray(np.unique(merged, return_inverse=True)[1])
