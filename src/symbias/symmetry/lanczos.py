"""Matrix-free paths for coupled bonds too large for a dense Gram."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symbias._core.arrays import Array, Params, concrete, constant
from symbias.symmetry.bonds import Bond
from symbias.symmetry.generators import Generators

STEPS = 64


def lanczos_log_det(
    xp: Any, bonds: Sequence[Bond], params: Params, probes: int, seed: int
) -> tuple[Array, int, float]:
    """Half the log pseudo-determinant, the stabilizers and the standard error.

    Stochastic Lanczos quadrature of ``tr log`` (Ubaru, Chen, Saad, SIAM J. Matrix Anal. Appl. 38,
    2017). Every bond's own Gram is taken out first in closed form; what is left has ones on the
    diagonal blocks and little variance. On singular orbits the Gram is taken as it is, its zero
    Ritz values are dropped and their weight estimates the number of stabilizers.

    Each of ``probes * 64`` steps costs two products per end, ``O(r^2 k)``; memory is 64 vectors of
    the algebra. Eager.
    """
    if any(concrete(params[name]) is None for bond in bonds for name in bond.arrays):
        raise ValueError("stochastic Lanczos does not work under jit, grad or vmap")
    generators = Generators(xp, bonds, params)
    spectra = [bond.group.spectrum(xp, *bond.blocks(xp, params)) for bond in bonds]
    own = [np.asarray(concrete(values)) for values, _ in spectra]
    cuts = [tol**2 * v.max(-1, keepdims=True) for v, (_, tol) in zip(own, spectra, strict=True)]
    estimates = np.zeros(0)
    if all(np.all(v > cut) for v, cut in zip(own, cuts, strict=True)):
        base = sum(float(np.sum(np.log(v))) for v in own)
        estimates, nulls = _quadrature(xp, generators, params, probes, seed, white=True)
        estimates = estimates + base
        if np.any(nulls > 1e-9):
            estimates = np.zeros(0)
    if not estimates.size:
        estimates, nulls = _quadrature(xp, generators, params, probes, seed, white=False)
    error = float(np.std(estimates, ddof=1) / np.sqrt(probes)) / 2
    value = constant(float(np.mean(estimates)) / 2, params[bonds[0].arrays[0]])
    return value, round(float(np.mean(nulls))), error


def _quadrature(
    xp: Any, generators: Generators, params: Params, probes: int, seed: int, white: bool
) -> tuple[np.ndarray, np.ndarray]:
    like = params[generators.arrays[0]]
    sizes = [bond.dim for bond in generators.bonds]
    rng = np.random.default_rng(seed)
    eps = float(xp.finfo(like.dtype).eps)
    results = []
    for _ in range(probes):
        start = constant(rng.choice([-1.0, 1.0], sum(sizes)) / np.sqrt(sum(sizes)), like)
        alphas, betas = _lanczos(xp, _operator(xp, generators, sizes, white), start, eps)
        ritz, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(betas, 1) + np.diag(betas, -1))
        weights = sum(sizes) * vectors[0] ** 2
        live = ritz > 100 * eps * ritz.max()
        results.append([weights[live] @ np.log(ritz[live]), weights[~live].sum()])
    estimates, nulls = np.transpose(results)
    return estimates, nulls


def _operator(
    xp: Any, generators: Generators, sizes: Sequence[int], white: bool
) -> Callable[[Array], Array]:
    def apply(vector: Array) -> Array:
        c = split(vector, sizes)
        c = generators.whiten(c) if white else c
        c = generators.adjoint(generators.tangent(c))
        return xp.concat(generators.whiten(c) if white else c, axis=0)

    return apply


def split(vector: Array, sizes: Sequence[int]) -> list[Array]:
    """Cut a vector of the algebra into the coefficients of its bonds."""
    ends = np.cumsum(sizes).tolist()
    return [vector[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _lanczos(
    xp: Any, operator: Callable[[Array], Array], start: Array, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """The tridiagonal of a Krylov space, with full reorthogonalisation."""
    basis = start[None, :]
    alphas: list[float] = []
    betas: list[float] = []
    for _ in range(min(STEPS, start.shape[0])):
        vector = operator(basis[-1, :])
        alphas.append(float(xp.sum(vector * basis[-1, :])))
        for _ in range(2):
            vector = vector - xp.matrix_transpose(basis) @ (basis @ vector)
        norm = float(xp.sqrt(xp.sum(vector * vector)))
        if norm <= 1e3 * eps * max(map(abs, alphas)):
            break
        betas.append(norm)
        basis = xp.concat([basis, (vector / norm)[None, :]], axis=0)
    return np.asarray(alphas), np.asarray(betas[: len(alphas) - 1])


def solve(
    operator: Callable[[Array], Array], rhs: Array, xp: Any, tolerance: float, steps: int = 1000
) -> Array:
    """Conjugate gradients from zero, for a consistent positive semidefinite system."""
    x, r = xp.zeros_like(rhs), rhs
    p, norm = r, float(xp.sum(r * r))
    goal = tolerance**2 * norm
    for _ in range(steps):
        if norm <= goal:
            return x
        q = operator(p)
        alpha = norm / float(xp.sum(p * q))
        x, r = x + alpha * p, r - alpha * q
        previous, norm = norm, float(xp.sum(r * r))
        p = r + (norm / previous) * p
    raise ValueError("conjugate gradients did not converge: the bonds are too ill-conditioned")
