"""Any design and any loss: L-BFGS on all factors, with the gradient that JAX derives.

The function is sum weights l(eta, Y) + strength/2 |theta|^2, in theta and, unless the loss is
quadratic and they are eliminated, the free directions of eta.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from symbias.parameterizations import Core
from symbias.solvers.lbfgs import LBFGS
from symbias.solvers.losses import SquaredError
from symbias.training import cores
from symbias.training.certificate import Certificate
from symbias.training.objective import Objective
from symbias.training.train import Options

MAX_ITER = 20_000
_CHUNK = 100
_CHARGE = 1e-2  # relative to the largest size


class Trained:
    """An objective as a function of all its factors, compiled once."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._cores = objective.normal.cores
        self._profiled = isinstance(objective.loss, SquaredError)
        with jax.enable_x64(True):
            example, _ = self.start(np.zeros(objective.size), objective.null_offset, 1.0)
            _, self._unravel = ravel_pytree(example)
            self._value_and_grad = jax.jit(jax.value_and_grad(self._function()))

    def start(self, c: np.ndarray, g: np.ndarray, charge: float) -> tuple[Any, np.ndarray]:
        """Factors of ``c`` with a charge, as a tree and flat."""
        parts = zip(self._cores, self.objective.normal.split(c), strict=True)
        thetas = [core.design.section(part, charge=charge) for core, part in parts]
        tree = (thetas, np.zeros(0) if self._profiled else g)
        return tree, np.asarray(ravel_pytree(tree)[0])

    def products(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c and g of flat factors."""
        thetas, g = jax.tree.map(np.asarray, self._unravel(jnp.asarray(flat)))
        c = [np.ravel(k.design(theta)) for k, theta in zip(self._cores, thetas, strict=True)]
        return np.concatenate(c), g

    def train(
        self, c: np.ndarray, g: np.ndarray, strength: float, options: Options, steps: int = 0
    ) -> tuple[np.ndarray, np.ndarray, Certificate, int]:
        """Train from ``c`` until the certificate is met; c, g, certificate, steps in all."""
        last = steps + int(options.max_iter or MAX_ITER)
        with jax.enable_x64(True):
            flat = self.start(c, g, charge_of(self._cores, self.objective, c))[1]
            method = LBFGS(self._bind(strength), flat)
            while True:
                moving = method.advance(min(_CHUNK, last - steps - method.steps))
                c, g = self.products(method.x)
                g = self.objective.polish(self.objective.forward(c), g if len(g) else None)
                certificate = self.objective.certify(c, g, strength)
                done = steps + method.steps
                if options.callback:
                    options.callback(done, certificate.objective)
                if certificate.violation <= 0.5 * options.tol or not moving or done >= last:
                    break
        c, g, certificate = self.sparsify(c, g, strength, options.tol, certificate)
        return c, g, certificate, steps + method.steps

    def sparsify(
        self, c: np.ndarray, g: np.ndarray, strength: float, tol: float, certificate: Certificate
    ) -> tuple[np.ndarray, np.ndarray, Certificate]:
        """Set to zero what training has left small and the pull of the loss does not hold up.

        Kept only if the certificate is still met, or is no worse.
        """
        objective = self.objective
        eta = objective.forward(c) + objective.offset(g)
        pulls = objective.normal.split(objective.pull(objective.gradient(eta)))
        parts = []
        for core, part, pull in zip(self._cores, objective.normal.split(c), pulls, strict=True):
            parts.append(np.ravel(_truncate(core, part, pull, strength)))
        sparse = np.concatenate(parts)
        if np.array_equal(sparse, c):
            return c, g, certificate
        again = objective.polish(objective.forward(sparse), g)
        after = objective.certify(sparse, again, strength)
        if after.violation <= max(tol, certificate.violation):
            return sparse, again, after
        return c, g, certificate

    def _bind(self, strength: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
        def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = self._value_and_grad(flat, strength)
            value = float(value)
            return (value if np.isfinite(value) else np.inf), np.nan_to_num(np.asarray(slope))

        return function

    def _function(self) -> Callable[[Any, Any], Any]:
        objective, synthesize = self.objective, self._synthesis()
        Y, weights, root = (
            jnp.asarray(a) for a in (objective.Y, objective.weights, objective.root)
        )
        basis = jnp.asarray(objective.basis)
        unit = jnp.asarray(objective.basis * np.ravel(objective.root)[:, None])

        def loss_of(eta: Any, g: Any) -> Any:
            if self._profiled:
                r = root * (Y - eta)
                r = jnp.ravel(r) - unit @ (unit.T @ jnp.ravel(r))
                return 0.5 * (r @ r)
            eta = eta + (basis @ g).reshape(Y.shape)
            return jnp.sum(weights * objective.loss.value(eta, Y))

        def function(flat: Any, strength: Any) -> Any:
            thetas, g = self._unravel(flat)
            c = [jnp.ravel(k.design(theta)) for k, theta in zip(self._cores, thetas, strict=True)]
            decay = sum(jnp.sum(a * a) for theta in thetas for a in theta.values())
            return loss_of(synthesize(jnp.concatenate(c)), g) + 0.5 * strength * decay

        return function

    def _synthesis(self) -> Callable[[Any], Any]:
        """c -> X A c, in JAX."""
        model, K = self.objective.model, self.objective.targets
        if not model.joint:
            B = jnp.asarray(model.inputs)
            return lambda c: (B @ c)[:, None]
        X, linear = jnp.asarray(model.X), model.normal.linear
        plain = np.array_equal(model.X, np.eye(*model.X.shape))
        rows = linear.columns.shape[0]
        if linear.selection is not None:
            place, data = map(jnp.asarray, linear.selection)

            def spread(c: Any) -> Any:
                return jnp.zeros(rows).at[place].add(data * c).reshape(-1, K)
        else:
            A = jnp.asarray(linear.columns)

            def spread(c: Any) -> Any:
                return (A @ c).reshape(-1, K)

        return spread if plain else lambda c: X @ spread(c)


def charge_of(parts: Sequence[Core], objective: Objective, c: np.ndarray) -> float:
    """1% of the largest size behind the links; of the reach of one step where all are zero."""
    largest = 0.0
    for core, part in zip(parts, objective.normal.split(c), strict=True):
        inner = core.design
        z = inner.link.inverse(part) if hasattr(inner, "link") else part
        largest = max(largest, float(np.abs(z).max(initial=0.0)))
    return _CHARGE * largest if largest > 0 else 1e-2


def first_step(objective: Objective) -> np.ndarray:
    """From c = 0 down the gradient, to the minimum of the quadratic model along it."""
    down = -np.concatenate([np.ravel(pull) for pull in objective.null_pull])
    eta = objective.offset(objective.null_offset)
    along = objective.forward(down)
    weights = objective.weights * objective.loss.bend(eta, objective.Y, objective.weights)
    bend = float(np.sum(weights * along**2))
    return down * (float(down @ down) / bend) if bend > 0 else down


def _truncate(core: Core, c: np.ndarray, pull: np.ndarray, strength: float) -> np.ndarray:
    p = core.design
    if cores.slope_at_zero(p) == 0:
        return c
    t = cores.sizes(p, c)
    small = t < 1e-5 * t.max(initial=0.0)
    if np.isfinite(cores.slope_at_zero(p)) and len(t) == c.size:
        small |= (np.abs(pull).ravel() < 0.999 * strength * cores.slope_at_zero(p)) & (
            t < 1e-3 * t.max(initial=0.0)
        )
    return cores.resize(p, c, lambda s: np.where(small, 0.0, s))
