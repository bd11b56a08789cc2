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

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias._core.arrays import Params as AnyParams
from symbias.dynamics import SGD, Optax, Problem, as_key
from symbias.dynamics.problem import Params
from symbias.mechanisms.gauge import (
    anticommutator_form,
    decay,
    moments,
    moving,
    pull_and_size,
    settle,
    slowest,
)
from symbias.symmetry import GeneralLinear, Symmetry, Translation, charges

BATCHES = 4096


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
    return _drift(symmetry, before, gained, learning_rate, weight_decay)


def _drift(
    symmetry: Symmetry,
    before: dict[str, Array],
    gained: dict[str, Array],
    learning_rate: float,
    weight_decay: float,
) -> dict[str, Array]:
    """From the charges of the parameters and of the gradient."""
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
    """Mean of `charge_drift` over minibatches drawn as `rule` draws them, and over snapshots.

    With momentum the mean over many steps, to leading order in the learning rate. Parameters are
    those of `equilibrium`.

    Raises
    ------
    ValueError
        As for `equilibrium`.
    """
    rule = as_plain_sgd(rule)
    symmetry = _symmetry(problem)
    with problem.precision():
        stack, _ = _snapshots(problem, params)
        grads = _gradients(problem, stack, rule, key, batches)
        before, gained = (_mean_charges(p, symmetry=symmetry) for p in (stack, grads))
        drift = _drift(symmetry, before, gained, rule.learning_rate, rule.weight_decay)
        return {name: np.asarray(d) for name, d in drift.items()}


@partial(jax.jit, static_argnames="symmetry")
def _mean_charges(stack: Params, *, symmetry: Symmetry) -> dict[str, Array]:
    found = jax.vmap(lambda params: charges(symmetry, params))(stack)
    return {name: q.mean(axis=0) for name, q in found.items()}


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
        Momentum, heavy ball or Nesterov, acts as plain SGD with the learning rate
        eta/(1 - momentum), to leading order in it.
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
    rule = as_plain_sgd(rule)
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
    those of `equilibrium`. A bond that acts twice on one array, such as a recurrent
    :math:`W \to gWg^{-1}`, has one longest time. Cost for ``GeneralLinear(r)``: O(r^6).
    """
    rule = as_plain_sgd(rule)
    symmetry = _symmetry(problem)
    with problem.precision():
        stack, _ = _snapshots(problem, params)
        grads = _gradients(problem, stack, rule, key, batches)
    times = {}
    with jax.enable_x64(True):
        stack, grads = settle(symmetry, rule, _double(stack), _double(grads))
        for bond in moving(symmetry):
            if bond.loops:
                pull, gram = pull_and_size(bond, rule, stack, grads)
                times[bond.name] = np.asarray(slowest(np.asarray(pull), np.asarray(gram)))
                continue
            (m, n), (cx, cy) = moments(bond, stack), moments(bond, grads)
            size = np.asarray(m + n)
            pull = 2 * rule.learning_rate * decay(rule) * size
            pull = pull + rule.learning_rate**2 * np.asarray(cx + cy)
            if isinstance(bond.group, GeneralLinear):
                forms = [
                    [anticommutator_form(k) for k in pair] for pair in zip(pull, size, strict=True)
                ]
                time = np.array([slowest(*pair) for pair in forms])
            else:
                time = size / pull
            times[bond.name] = time[0] if bond.heads is None else time
    return times


def as_plain_sgd(rule: Any) -> SGD:
    """The plain SGD whose charges drift as those of this rule do."""
    if isinstance(rule, Optax):
        raise ValueError(
            f"{_optax_name(rule)} does not conserve charges as SGD does: no equilibrium is known. "
            "Simulate it instead, or say SGD(momentum=...) if it is that"
        )
    if not isinstance(rule, SGD):
        raise ValueError(f"the drift of charges is known for SGD, not for {type(rule).__name__}")
    rate = rule.learning_rate / (1 - rule.momentum)
    return replace(rule, learning_rate=rate, momentum=0.0, nesterov=False)


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
    if extra not in ({0}, {1}) or not fits:
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
