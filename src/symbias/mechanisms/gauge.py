"""The equilibrium gauge of SGD: where on the orbit decay and gradient noise hold each other."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from symbias._core.arrays import Array
from symbias.dynamics import SGD
from symbias.dynamics.problem import Params
from symbias.symmetry import (
    Bond,
    ComplexScaling,
    GeneralLinear,
    Rescaling,
    Symmetry,
    Translation,
    act,
    gram,
)

TOLERANCE, SWEEPS = 1e-9, 2000
HALVINGS = 12  # of a Newton step, the best of which is taken


def decay(rule: SGD) -> float:
    """lambda' with which the drift of SGD is 2 eta lambda' Q exactly."""
    return rule.weight_decay * (1 - rule.learning_rate * rule.weight_decay / 2)


def moving(symmetry: Symmetry) -> list[Bond]:
    """The bonds whose equilibrium is not the point where they are."""
    bonds = [b for b in symmetry if not b.group.compact and not isinstance(b.group, Translation)]
    for bond in bonds:
        if not isinstance(bond.group, ComplexScaling | GeneralLinear | Rescaling):
            raise ValueError(f"bond {bond.name!r}: no equilibrium is known for {bond.group}")
    return bonds


def moments(bond: Bond, stack: Params) -> tuple[Array, Array]:
    """Means of M and N over axis 0, as charges are shaped: the charge of one side alone."""

    def one(params: Params) -> tuple[Array, Array]:
        x, y = bond.blocks(jnp, params)
        nothing = x[..., :0]
        return bond.group.charge(jnp, x, nothing), bond.group.charge(jnp, y, nothing)

    m, n = jax.vmap(one)({name: stack[name] for name in bond.arrays})
    return m.mean(axis=0), n.mean(axis=0)


def settle(symmetry: Symmetry, rule: SGD, stack: Params, grads: Params) -> tuple[Params, Params]:
    """Sweep over the bonds until the drift of each vanishes."""
    bonds = moving(symmetry)
    if not bonds:
        return stack, grads
    for _ in range(SWEEPS):
        stack, grads, off = _sweep(stack, grads, symmetry=symmetry, rule=rule)
        off = np.asarray(off)
        if not np.isfinite(off).all():
            name = bonds[int(np.argmin(np.isfinite(off)))].name
            raise ValueError(
                f"bond {name!r} has no finite equilibrium: some direction is dead on one side, or "
                "held by neither gradient noise nor weight decay"
            )
        if off.max() < TOLERANCE:
            return stack, grads
    raise ValueError(f"no equilibrium within {SWEEPS} sweeps; residual {off.max():.1e}")


@partial(jax.jit, static_argnames=("symmetry", "rule"))
def _sweep(
    stack: Params, grads: Params, *, symmetry: Symmetry, rule: SGD
) -> tuple[Params, Params, Array]:
    """Settle one bond after the other; gradients move contragrediently to parameters."""
    worst = []
    for bond in moving(symmetry):
        if bond.loops:
            g, off = _newton(bond, rule, stack, grads)
        else:
            (m, n), (cx, cy) = moments(bond, stack), moments(bond, grads)
            a = 2 * decay(rule) * m + rule.learning_rate * cy
            b = 2 * decay(rule) * n + rule.learning_rate * cx
            g, off = _element(bond, a, b)
        stack = _move(bond, g, stack)
        grads = _move(bond, bond.group.dual(jnp, g), grads)
        worst.append(off)
    return stack, grads, jnp.stack(worst)


def _move(bond: Bond, g: Array, stack: Params) -> Params:
    one = Symmetry([bond])
    return jax.vmap(lambda params: act(one, {bond.name: g}, params))(stack)


def _element(bond: Bond, a: Array, b: Array) -> tuple[Array, Array]:
    """The group element that moves a bond to where its drift vanishes."""
    if isinstance(bond.group, GeneralLinear):
        return _root(a, b)
    g, off = _scale(a, b)
    if isinstance(bond.group, ComplexScaling):
        planes = bond.group.planes
        diagonal = jnp.zeros((len(g), bond.group.size)).at[:, planes].set(g[..., None])
        g = diagonal[..., None] * jnp.eye(bond.group.size)
    return g, off


def _scale(a: Array, b: Array) -> tuple[Array, Array]:
    """g with g^4 a = b for every scale, and the largest |log g|; scales nothing acts on stay."""
    free = (a == 0) & (b == 0)
    g = jnp.where(free, 1.0, (b / jnp.where(free, 1.0, a)) ** 0.25)
    return g, jnp.abs(jnp.log(g)).max()


def _root(a: Array, b: Array) -> tuple[Array, Array]:
    """Symmetric g with g^2 a g^2 = b, and the relative imbalance of a and b."""
    values, vectors = jnp.linalg.eigh(a)
    root = jnp.sqrt(jnp.maximum(values, 0))
    up = (vectors * root[..., None, :]) @ jnp.swapaxes(vectors, -1, -2)
    down = (vectors / root[..., None, :]) @ jnp.swapaxes(vectors, -1, -2)
    s = down @ _power(up @ b @ up, 0.5) @ down
    low = jnp.linalg.eigvalsh(b)
    alive = (values[..., 0] > 1e-13 * values[..., -1]) & (low[..., 0] > 1e-13 * low[..., -1])
    off = jnp.linalg.norm(a - b, axis=(-2, -1)) / jnp.linalg.norm(a + b, axis=(-2, -1))
    return _power(s, 0.5), jnp.where(alive, off, jnp.inf).max()


def _power(a: Array, exponent: float) -> Array:
    values, vectors = jnp.linalg.eigh((a + jnp.swapaxes(a, -1, -2)) / 2)
    scaled = vectors * jnp.maximum(values, 0)[..., None, :] ** exponent
    return scaled @ jnp.swapaxes(vectors, -1, -2)


def _newton(bond: Bond, rule: SGD, stack: Params, grads: Params) -> tuple[Array, Array]:
    r"""A damped Newton step for a bond that acts twice on one array, and the relative slope.

    The cost :math:`\lambda'|g\theta|^2 + \tfrac\eta2 E|G(g\theta)|^2` is geodesically convex
    along g = exp(a) with a symmetric; its Hessian is twice that of `pull_and_size`.
    """
    stack, grads = ({k: p[k] for k in bond.arrays} for p in (stack, grads))
    basis, diagonal = _symmetric(bond), len(bond.group.element_shape) == 1
    one = np.ones(bond.group.size) if diagonal else np.eye(bond.group.size)

    def cost(g: Array) -> Array:
        moved = (_move(bond, g, stack), _move(bond, bond.group.dual(jnp, g), grads))
        theta, noise = (sum(jnp.sum(v**2) / len(v) for v in p.values()) for p in moved)
        return rule.learning_rate * (decay(rule) * theta + rule.learning_rate / 2 * noise)

    def along(c: Array) -> Array:
        return jnp.tensordot(c, basis, axes=1)

    slope = jax.grad(lambda c: cost(one + along(c)))(jnp.zeros(len(basis)))
    pull = pull_and_size(bond, rule, stack, grads)[0]
    ridge = 1e-13 * jnp.trace(pull) * jnp.eye(len(basis))  # where nothing is moved, nothing pulls
    way = along(-jnp.linalg.solve(2 * pull + ridge, slope))
    way = way / jnp.maximum(1.0, jnp.abs(way).max())
    exp = _exp_diagonal(way) if diagonal else _exp_symmetric(way)
    parts = 0.5 ** jnp.arange(HALVINGS)
    best = parts[jnp.argmin(jax.vmap(lambda t: cost(exp(t)))(parts))]
    return exp(best), jnp.linalg.norm(slope) / (2 * cost(exp(0.0)))


def _exp_diagonal(a: Array) -> Callable[[Any], Array]:
    return lambda t: jnp.exp(t * a)


def _exp_symmetric(a: Array) -> Callable[[Any], Array]:
    values, vectors = jnp.linalg.eigh(a)
    return lambda t: (vectors * jnp.exp(t * values)[..., None, :]) @ jnp.swapaxes(vectors, -1, -2)


def pull_and_size(bond: Bond, rule: SGD, stack: Params, grads: Params) -> tuple[Array, Array]:
    r"""How fast SGD pulls the charges of a bond back, and their change, for symmetric generators.

    :math:`2\eta\lambda' \Gamma(\theta) + \eta^2 E\,\Gamma(G)` and :math:`\Gamma(\theta)`, with
    the Gram matrix :math:`\Gamma_{ab} = \langle \xi_a, \xi_b \rangle` of the generators' action:
    right also where a bond acts twice on one array.
    """
    basis, one = _coefficients(bond), Symmetry([bond])

    def mean(params: Params) -> Array:
        rows = {k: params[k] for k in bond.arrays}
        each = jax.lax.map(lambda p: basis @ gram(one, p) @ basis.T, rows)
        return each.mean(axis=0)

    size = mean(stack)
    pull = 2 * rule.learning_rate * decay(rule) * size + rule.learning_rate**2 * mean(grads)
    return pull, size


@lru_cache(maxsize=64)
def _coefficients(bond: Bond) -> np.ndarray:
    """The symmetric generators as rows of coefficients in the basis of the algebra, all heads."""
    matrices = np.stack(bond.group.matrix_basis())
    turned = np.einsum("aij,bji->ab", matrices, matrices)  # the transpose, in that basis
    values, vectors = np.linalg.eigh(turned)
    return np.kron(np.eye(bond.heads or 1), vectors[:, values > 0.5].T)


def _symmetric(bond: Bond) -> np.ndarray:
    """The same as tangents to the group's elements, of shape (count, *element_shape)."""
    matrices = np.stack(bond.group.matrix_basis())
    if len(bond.group.element_shape) == 1:
        matrices = np.diagonal(matrices, axis1=1, axis2=2)
    rows = _coefficients(bond).reshape(-1, bond.heads or 1, len(matrices))
    return np.einsum("chk,k...->ch...", rows, matrices)


def slowest(pull: np.ndarray, size: np.ndarray) -> float:
    """Longest time of size a' = -pull a, of what is moved at all."""
    values, vectors = np.linalg.eigh(size)
    live = vectors[:, values > 1e-11 * values[-1]]
    rates = scipy.linalg.eigh(
        live.T @ pull @ live, live.T @ size @ live, eigvals_only=True, subset_by_index=[0, 0]
    )
    return float(1 / rates[0])


def anticommutator_form(k: np.ndarray) -> np.ndarray:
    """The form tr(a {b, k}) / 2 on symmetric matrices a, b."""
    r = len(k)
    i, j = np.triu_indices(r)
    basis = np.zeros((len(i), r, r))
    basis[np.arange(len(i)), i, j] = basis[np.arange(len(i)), j, i] = 1.0
    return np.einsum("aij,bij->ab", basis, basis @ k + k @ basis) / 2
