"""Any design and any loss: L-BFGS on all factors, with the gradient that JAX derives.

The function is sum weights l(eta, y) + strength/2 |theta|^2, in theta and, unless the loss is
quadratic and they are eliminated, the free directions of eta.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from symbias.parameterizations import NormalForm
from symbias.penalties import Piece
from symbias.solvers import LBFGS, Candidate, Composite, Minimum, Model, Options

MAX_ITER = 20_000
_CHUNK = 100
_CHARGE = 1e-2  # relative to the largest square of a factor
_SMALL, _HELD = 1e-5, 1e-3  # relative to the largest size


class Factors:
    """A problem as a function of all factors of its design, compiled once."""

    def __init__(self, composite: Composite, model: Model, normal: NormalForm) -> None:
        self.composite, self.normal = composite, normal
        with jax.enable_x64(True):
            zero = np.zeros(composite.size)
            _, self._unravel = ravel_pytree(self._tree(zero, composite.fitted(zero)[1]))
            self._value_and_grad = jax.jit(jax.value_and_grad(self._function(model)))

    def minimise(self, strength: float, c: np.ndarray, options: Options) -> Minimum:
        """Train from c until the certificate is met; ``n_iter`` counts steps of L-BFGS."""
        composite = self.composite
        best, moving = composite.certify(c, strength), True
        if best.violation <= options.tol:
            return Minimum(best, 0, "converged")
        c = c if np.any(c) else self._first_step()
        limit = options.max_iter or MAX_ITER
        with jax.enable_x64(True):
            start = ravel_pytree(self._tree(c, composite.fitted(c)[1]))[0]
            method = LBFGS(self._bind(strength), np.asarray(start))
            while moving and method.steps < limit and not best.violation <= 0.5 * options.tol:
                moving = method.advance(min(_CHUNK, limit - method.steps))
                c, g = self._product(method.x)
                best = composite.certify(c, strength, g if len(g) else None)
                if options.callback:
                    options.callback(method.steps, best.objective)
        best = self._sparse(best, strength, options.tol)
        reason = "max_iter" if moving else "stalled: rounding hides what is left"
        return Minimum(best, method.steps, "converged" if best.violation <= options.tol else reason)

    def _tree(self, c: np.ndarray, g: np.ndarray) -> Any:
        """Factors of ``c``, balanced but for a charge that lets zeros and signs move, and g."""
        cores, parts = self.normal.cores, self.normal.split(c)
        balanced = [core.design.section(a) for core, a in zip(cores, parts, strict=True)]
        largest = max(float(np.abs(f).max(initial=0)) for theta in balanced for f in theta.values())
        charge = _CHARGE * (largest**2 or 1.0)
        thetas = [core.design.section(a, charge) for core, a in zip(cores, parts, strict=True)]
        return thetas, np.zeros(0) if self.composite.problem.quadratic else g

    def _product(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """c and g of flat factors."""
        thetas, g = jax.tree.map(np.asarray, self._unravel(jnp.asarray(flat)))
        each = zip(self.normal.cores, thetas, strict=True)
        return np.concatenate([np.ravel(core.design(theta)) for core, theta in each]), g

    def _bind(self, strength: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
        def function(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = self._value_and_grad(flat, strength)
            value = float(value)
            return (value if np.isfinite(value) else np.inf), np.nan_to_num(np.asarray(slope))

        return function

    def _function(self, model: Model) -> Callable[[Any, Any], Any]:
        problem, cores, predictor = self.composite.problem, self.normal.cores, _predictor(model)
        y, weights, basis = (jnp.asarray(a) for a in (problem.y, problem.a, problem.basis))
        root = jnp.sqrt(weights)
        unit = root[:, None] * basis

        def loss_of(eta: Any, g: Any) -> Any:
            if problem.quadratic:
                r = root * (y - eta)
                r = r - unit @ (unit.T @ r)
                return 0.5 * (r @ r)
            return jnp.sum(weights * problem.loss.value(eta + basis @ g, y))

        def function(flat: Any, strength: Any) -> Any:
            thetas, g = self._unravel(flat)
            c = [jnp.ravel(core.design(a)) for core, a in zip(cores, thetas, strict=True)]
            decay = sum(jnp.sum(a * a) for theta in thetas for a in theta.values())
            return loss_of(predictor(jnp.concatenate(c)), g) + 0.5 * strength * decay

        return function

    def _first_step(self) -> np.ndarray:
        """From c = 0 down the gradient, to the minimum of the quadratic model along it."""
        problem = self.composite.problem
        down = -problem.null.pull
        h = problem.a * problem.loss.bend(problem.null_eta, problem.y, problem.a)
        bend = float(np.sum(h * problem.inputs.push(down) ** 2))
        return down * (float(down @ down) / bend) if bend > 0 else down

    def _sparse(self, found: Candidate, strength: float, tol: float) -> Candidate:
        """Set to zero what training has left small and the pull of the loss does not hold up.

        Kept only if the certificate is still met, or is no worse.
        """
        problem, form = self.composite.problem, self.composite.form
        eta = self.composite.fitted(found.c, found.g)[0]
        pulls = form.split(problem.inputs.pull(problem.gradient(eta)))
        each = zip(form.pieces, form.split(found.c), pulls, strict=True)
        c = np.concatenate(
            [_cut(piece, part, pull, strength).ravel() for piece, part, pull in each]
        )
        sparse = self.composite.certify(c, strength, found.g)
        return sparse if sparse.violation <= max(tol, found.violation) else found


def _cut(piece: Piece, c: np.ndarray, pull: np.ndarray, strength: float) -> np.ndarray:
    slope, t = piece.scalar.slope_at_zero, np.asarray(piece.sizes.of(c))
    if slope == 0:
        return c
    largest = t.max(initial=0.0)
    small = t < _SMALL * largest
    if np.isfinite(slope) and piece.sizes.labels is not None:
        weak = np.asarray(piece.sizes.of(pull)) < 0.999 * strength * slope
        small |= weak & (t < _HELD * largest)
    return piece.sizes.resize(c, lambda t: np.where(small, 0.0, t))


def _predictor(model: Model) -> Callable[[Any], Any]:
    """c -> B c, in JAX; without B where a matrix W has the entries of c."""
    if not model.joint or model.shared is not None:
        B = jnp.asarray(model.inputs.gather(np.arange(model.form.size)).dense().T)
        return lambda c: B @ c
    X, selection = jnp.asarray(model.X), model.form.linear.selection
    assert selection is not None  # or the free directions share in B
    place, scale = map(jnp.asarray, selection)
    empty = jnp.zeros(model.form.linear.columns.shape[0])
    return lambda c: (X @ empty.at[place].add(scale * c).reshape(-1, model.form.shape[1])).ravel()
