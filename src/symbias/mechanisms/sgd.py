r"""What plain SGD does along the orbits of a symmetry: drift of the charges, and where it ends.

A minibatch gradient has no component along an orbit. Hence one step of plain SGD with coupled
weight decay changes the charges of a bond by

.. math:: Q' = (1 - \eta\lambda)^2 Q + \eta^2 (G_X G_X^T - G_Y G_Y^T)

exactly. In the mean over minibatches this drift vanishes at one point of the orbit, the
equilibrium gauge: neither the balanced point nor the one training started from.

References
----------
Ziyin, Wang, Li, Wu, "Parameter symmetry and noise equilibrium of stochastic gradient descent",
NeurIPS 2024 (without weight decay); Bhatia, *Positive Definite Matrices*, 2007, for the geometric
mean.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from symbias._core.arrays import Array
from symbias._core.arrays import Params as AnyParams
from symbias.dynamics import SGD, Optax, Problem, as_key
from symbias.dynamics.problem import Params
from symbias.symmetry import (
    Bond,
    ComplexScaling,
    GeneralLinear,
    Rescaling,
    Symmetry,
    Translation,
    act,
    charges,
)

BATCHES = 4096
TOLERANCE, SWEEPS = 1e-9, 2000


def charge_drift(
    symmetry: Symmetry,
    params: AnyParams,
    gradients: AnyParams,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
) -> dict[str, Array]:
    r"""Change of every charge in one step of plain SGD, exactly.

    :math:`((1 - \eta\lambda)^2 - 1)\,Q(\theta) + \eta^2 Q(G)`; for a translation, whose charge is
    linear, :math:`-\eta\lambda Q`.

    Parameters
    ----------
    symmetry : Symmetry
    params, gradients : dict of arrays of one library
        Parameters before the step, and the minibatch gradient there, without weight decay.
    learning_rate, weight_decay : float

    Returns
    -------
    dict
        Bond name to charge difference, as `charges` shapes it.
    """
    before, gained = charges(symmetry, params), charges(symmetry, gradients)
    keep = 1 - learning_rate * weight_decay
    drift = {}
    for bond in symmetry:
        if isinstance(bond.group, Translation):
            drift[bond.name] = (keep - 1) * before[bond.name]
        else:
            noise = learning_rate**2 * gained[bond.name]
            drift[bond.name] = (keep**2 - 1) * before[bond.name] + noise
    return drift


def expected_charge_drift(
    problem: Problem, params: Params, rule: SGD, *, key: int | Array = 0, batches: int = BATCHES
) -> dict[str, np.ndarray]:
    """Mean of `charge_drift` over minibatches drawn as `rule` draws them.

    Raises
    ------
    ValueError
        As for `equilibrium`.
    """
    rule = _plain_sgd(rule)
    symmetry = _symmetry(problem)
    options: dict[str, Any] = {
        "learning_rate": rule.learning_rate,
        "weight_decay": rule.weight_decay,
    }
    with problem.precision():
        stack, _ = _snapshots(problem, params)
        grads = _gradients(problem, stack, rule, key, batches)
        here = {k: v[0] for k, v in stack.items()}
        one = partial(charge_drift, symmetry, here, **options)
        drifts = jax.jit(jax.vmap(one))(grads)
        return {name: np.asarray(d).mean(axis=0) for name, d in drifts.items()}


def equilibrium(
    problem: Problem, params: Params, rule: SGD, *, key: int | Array = 0, batches: int = BATCHES
) -> dict[str, np.ndarray]:
    r"""The parameters, moved along their orbit to where the mean charge drift of SGD vanishes.

    With :math:`M = XX^T, N = YY^T` and the second moments :math:`C_X = E[G_X G_X^T], C_Y` of
    minibatch gradients, the element g that moves a bond there has :math:`S = g^T g` with

    .. math:: S\,(2\lambda' M + \eta C_Y)\,S = 2\lambda' N + \eta C_X,
              \qquad \lambda' = \lambda (1 - \eta\lambda/2),

    a matrix geometric mean for ``GeneralLinear``, a square root for each scale of ``Rescaling``.
    It minimises :math:`2\lambda'|g\theta|^2 + \eta E|G(g\theta)|^2`, geodesically convex along the
    group: coupled bonds take sweeps. Weights before a normalisation (one end only) settle at
    :math:`|\theta|^4 = \eta E|\tilde g|^2/(2\lambda')`. Compact groups and translations stay.

    Parameters
    ----------
    problem : Problem
        With its symmetry.
    params : dict of arrays
        A point whose predictor is the one training fluctuates about; its gauge does not matter.
        Arrays with one more leading axis are snapshots of one run (or of replicas in one gauge):
        the moments are averaged over them and all are moved by the same element.
    rule : SGD
        Without momentum.
    key : int or JAX key
    batches : int
        Minibatches the gradient moments are averaged over, at each snapshot; their relative error
        falls as ``batches ** -0.5``. Memory: batches times the size of `params`.

    Returns
    -------
    dict of numpy arrays

    Raises
    ------
    ValueError
        For a rule that is not plain SGD, and where no finite equilibrium exists: directions that
        neither noise nor weight decay hold.
    """
    rule = _plain_sgd(rule)
    symmetry = _symmetry(problem)
    with problem.precision():
        stack, single = _snapshots(problem, params)
        grads = _gradients(problem, stack, rule, key, batches)
    with jax.enable_x64(True):
        stack, _ = settle(symmetry, rule, _double(stack), _double(grads))
    return {k: np.asarray(v)[0] if single else np.asarray(v) for k, v in stack.items()}


def relaxation_time(
    problem: Problem, params: Params, rule: SGD, *, key: int | Array = 0, batches: int = BATCHES
) -> dict[str, np.ndarray]:
    r"""Steps in which a small distance from the equilibrium gauge falls by a factor e.

    About the equilibrium the mean drift is linear: for an element exp(a), a symmetric,
    :math:`\{\dot a, K\} = -\{a, 2\eta\lambda' K + \eta^2(C_X + C_Y)\}` with K = M + N and
    :math:`\{a, b\} = ab + ba`. For every bond, others held where they are: one time for each scale
    of ``Rescaling``, the longest one of each head of ``GeneralLinear``. Parameters and errors are
    those of `equilibrium`. Cost for ``GeneralLinear(r)``: O(r^6).
    """
    rule = _plain_sgd(rule)
    symmetry = _symmetry(problem)
    with problem.precision():
        stack, _ = _snapshots(problem, params)
        grads = _gradients(problem, stack, rule, key, batches)
    times = {}
    with jax.enable_x64(True):
        stack, grads = settle(symmetry, rule, _double(stack), _double(grads))
        for bond in _moving(symmetry):
            (m, n), (cx, cy) = _moments(bond, stack), _moments(bond, grads)
            size = np.asarray(m + n)
            pull = 2 * rule.learning_rate * _decay(rule) * size
            pull = pull + rule.learning_rate**2 * np.asarray(cx + cy)
            if isinstance(bond.group, GeneralLinear):
                time = np.array([_slowest(k, p) for k, p in zip(size, pull, strict=True)])
            else:
                time = size / pull
            times[bond.name] = time[0] if bond.heads is None else time
    return times


def _plain_sgd(rule: Any) -> SGD:
    if isinstance(rule, Optax):
        raise ValueError(
            f"{_optax_name(rule)} does not conserve charges as SGD does: no equilibrium is known. "
            "Simulate it instead"
        )
    if not isinstance(rule, SGD):
        raise ValueError(f"the drift of charges is known for SGD, not for {type(rule).__name__}")
    if rule.momentum:
        raise ValueError("the drift of charges is known for SGD without momentum; simulate instead")
    return rule


def _optax_name(rule: Optax) -> str:
    """Adam for ``optax.adam``: its state tells what a transformation does."""
    state = rule.transformation.init({"w": jnp.zeros(1)})
    kinds = {type(leaf).__name__ for leaf in jax.tree.leaves(state, is_leaf=_is_scaling)}
    for kind in sorted(kinds):
        if kind.startswith("ScaleBy") and kind != "ScaleByScheduleState":
            return kind.removeprefix("ScaleBy").removesuffix("State")
    return "an optax transformation"


def _is_scaling(node: Any) -> bool:
    return type(node).__name__.startswith("ScaleBy")


def _symmetry(problem: Problem) -> Symmetry:
    if problem.symmetry is None:
        raise ValueError("the problem has no symmetry: give Problem(..., symmetry=...)")
    return problem.symmetry


def _snapshots(problem: Problem, params: Params) -> tuple[Params, bool]:
    """Parameters with a leading axis of snapshots, and whether that axis is ours."""
    shapes = {k: v.shape for k, v in problem.shapes().items()}
    if set(params) != set(shapes):
        raise ValueError(f"params are {sorted(params)}, the problem has {sorted(shapes)}")
    extra = {np.ndim(v) - len(shapes[k]) for k, v in params.items()}
    fits = all(np.shape(v)[np.ndim(v) - len(shapes[k]) :] == shapes[k] for k, v in params.items())
    if len(extra) != 1 or not extra <= {0, 1} or not fits:
        found = {k: np.shape(v) for k, v in params.items()}
        raise ValueError(f"params have shapes {found}, the problem {shapes}")
    single = extra == {0}
    stack = {k: jnp.asarray(v) for k, v in params.items()}
    return {k: v[None] if single else v for k, v in stack.items()}, single


def _gradients(
    problem: Problem, stack: Params, rule: SGD, key: int | Array, batches: int
) -> Params:
    """Minibatch gradients at every snapshot, along one axis."""
    rule.check(problem)
    if batches < 1:
        raise ValueError(f"batches must be positive, got {batches}")
    key = as_key(key)
    keys = jax.random.split(key, len(next(iter(stack.values()))))
    return _sampled(stack, keys, problem.arrays(), problem=problem, rule=rule, batches=batches)


@partial(jax.jit, static_argnames=("problem", "rule", "batches"))
def _sampled(
    stack: Params, keys: Array, data: Any, *, problem: Problem, rule: SGD, batches: int
) -> Params:
    steps = jnp.arange(batches, dtype=jnp.uint32)
    gradient = jax.grad(problem.objective)

    def at_one(inputs: tuple[Params, Array]) -> Params:
        params, key = inputs
        noise = rule.draw(problem, data, key, steps, jnp.int32(1))
        if noise is None:
            return jax.tree.map(lambda g: g[None], gradient(params, data))
        return jax.vmap(lambda batch: gradient(params, batch))(noise)

    grads = jax.lax.map(at_one, (stack, keys))
    return {k: g.reshape(-1, *g.shape[2:]) for k, g in grads.items()}


def _double(stack: Params) -> Params:
    return {k: jnp.asarray(np.asarray(v), jnp.float64) for k, v in stack.items()}


def _decay(rule: SGD) -> float:
    """lambda' with which the drift of SGD is 2 eta lambda' Q exactly."""
    return rule.weight_decay * (1 - rule.learning_rate * rule.weight_decay / 2)


def _moving(symmetry: Symmetry) -> list[Bond]:
    """The bonds whose equilibrium is not the point where they are."""
    bonds = [b for b in symmetry if not b.group.compact and not isinstance(b.group, Translation)]
    for bond in bonds:
        if not isinstance(bond.group, ComplexScaling | GeneralLinear | Rescaling):
            raise ValueError(f"bond {bond.name!r}: no equilibrium is known for {bond.group}")
    return bonds


def _moments(bond: Bond, stack: Params) -> tuple[Array, Array]:
    """Means of M and N over axis 0, as charges are shaped: the charge of one side alone."""

    def one(params: Params) -> tuple[Array, Array]:
        x, y = bond.blocks(jnp, params)
        nothing = x[..., :0]
        return bond.group.charge(jnp, x, nothing), bond.group.charge(jnp, y, nothing)

    m, n = jax.vmap(one)({name: stack[name] for name in bond.arrays})
    return m.mean(axis=0), n.mean(axis=0)


def settle(symmetry: Symmetry, rule: SGD, stack: Params, grads: Params) -> tuple[Params, Params]:
    """Sweep over the bonds until the drift of each vanishes."""
    bonds = _moving(symmetry)
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
    for bond in _moving(symmetry):
        (m, n), (cx, cy) = _moments(bond, stack), _moments(bond, grads)
        a = 2 * _decay(rule) * m + rule.learning_rate * cy
        b = 2 * _decay(rule) * n + rule.learning_rate * cx
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
    """g with g^4 a = b for every scale, and the relative imbalance; scales nothing acts on stay."""
    free = (a == 0) & (b == 0)
    g = jnp.where(free, 1.0, (b / jnp.where(free, 1.0, a)) ** 0.25)
    good = jnp.isfinite(g) & (g > 0)
    off = jnp.abs(a - b) / jnp.where(free, 1.0, a + b)
    return g, jnp.where(good, off, jnp.inf).max()


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


def _slowest(size: np.ndarray, pull: np.ndarray) -> float:
    """Longest time of {a', size} = -{a, pull} on symmetric matrices."""
    r = len(size)
    i, j = np.triu_indices(r)
    basis = np.zeros((len(i), r, r))
    basis[np.arange(len(i)), i, j] = basis[np.arange(len(i)), j, i] = 1.0

    def form(k: np.ndarray) -> np.ndarray:
        return np.einsum("aij,bij->ab", basis, basis @ k + k @ basis)

    rates = scipy.linalg.eigh(form(pull), form(size), eigvals_only=True, subset_by_index=[0, 0])
    return float(1 / rates[0])
