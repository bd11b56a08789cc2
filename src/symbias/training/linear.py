"""Cores that are products of numbers, as one product with shared scales, and their names."""

import math
from collections.abc import Sequence
from functools import singledispatch
from typing import NamedTuple

import numpy as np

from symbias.parameterizations import Core, GroupProduct, Hadamard, Parameterization


class Products(NamedTuple):
    """c_i = u_i t_g(i)^power for all cores together: the group of every coordinate, the power."""

    labels: np.ndarray
    power: int


def as_products(cores: Sequence[Core]) -> Products | None:
    """All cores as one product with shared scales, or None where one is of another kind."""
    labels: list[np.ndarray] = []
    powers, groups = set(), 0
    for core in cores:
        scales = scales_of(core.design)
        if scales is None:
            return None
        labels.append(scales.labels + groups)
        groups += int(scales.labels.max(initial=-1)) + 1
        powers.add(scales.power)
    return Products(np.concatenate(labels), powers.pop()) if len(powers) == 1 else None


@singledispatch
def scales_of(inner: Parameterization) -> Products | None:
    """The group of every coordinate, and the power with which a group's scale enters."""
    return None


@scales_of.register
def _(inner: Hadamard) -> Products | None:
    return Products(np.arange(math.prod(inner.shape)), inner.depth - 1)


@scales_of.register
def _(inner: GroupProduct) -> Products | None:
    return Products(inner.labels, 1)


def name_products(cores: Sequence[Core], u: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
    """u (coordinates,) and t (power, groups) of `as_products` under the names of the cores."""
    named: dict[str, np.ndarray] = {}
    at = group = 0
    for core in cores:
        p = core.design
        own = u[at : at + core.size].reshape(p.shape)
        if isinstance(p, GroupProduct):
            count = len(p.group_names)
            factors = {"s": t[0, group : group + count], "v": own}
        else:
            assert isinstance(p, Hadamard)
            count = core.size
            scales = t[:, group : group + count].reshape(len(t), *p.shape)
            factors = dict(zip(p.names, [*scales, own], strict=True))
        named |= core.rename(factors)
        at, group = at + core.size, group + count
    return named
