"""Stationary fluctuations of SGD with label noise, to first order about a point that fits."""

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from symbias._core.refusal import Refused

SOLVED = 1e-11  # relative residual of the Lyapunov equation


def stationary(
    curvatures: np.ndarray,
    learning_rate: float,
    momentum: float,
    batch_size: int,
    gradients: np.ndarray | None = None,
) -> np.ndarray:
    r"""Covariance of theta in the eigenbasis of H, for label noise of std 1.

    With batches of B of n samples drawn with replacement and no momentum it solves

    .. math:: S = E[(1 - \eta H_b) S (1 - \eta H_b)] + \eta^2 H/B.

    Heavy ball, :math:`\theta_{t+1} = \theta_t - \eta G_t + \beta(\theta_t - \theta_{t-1})`, answers
    a source Q of noise in every step by :math:`S_{kl} = W_{kl} Q_{kl}`,

    .. math:: W_{kl} = \frac{1-\beta^2}
        {(1-\beta^2)^2 - (1+\beta^2) a_k a_l + \beta(a_k^2 + a_l^2)},
        \qquad a_k = 1 + \beta - \eta h_k,

    and the source is :math:`Q = \frac{\eta^2}B\bigl(H + \frac1n\sum_i H_i S H_i - HSH\bigr)`, as
    batches are independent of theta; the last two are missing for full batches.

    Parameters
    ----------
    curvatures : array (r,)
        h, positive and below 2 (1 + momentum) / learning_rate.
    batch_size : int
        B, or n for full batches.
    gradients : array (n, outputs, r), optional
        Of every sample, where batches are drawn.

    Raises
    ------
    Refused
        Where fluctuations grow in mean square: exactly where the solution is not positive, as W
        and the source are positive maps (Krein and Rutman).
    """
    h, eta, beta = curvatures, learning_rate, momentum
    a = 1 + beta - eta * h
    answer = (1 - beta**2) / (
        (1 - beta**2) ** 2
        - (1 + beta**2) * np.multiply.outer(a, a)
        + beta * np.add.outer(a**2, a**2)
    )
    first = answer * np.diag(eta**2 * h / batch_size)
    if gradients is None or not h.size:
        return first
    scale, shape, g = np.max(first), first.shape, gradients

    def fixed(flat: np.ndarray) -> np.ndarray:
        s = flat.reshape(shape)
        inner = g @ s @ g.mT
        spread = np.einsum("nak,nab,nbl->kl", g, inner, g, optimize=True) / len(g)
        return (s - answer * (eta**2 / batch_size) * (spread - h[:, None] * s * h)).ravel()

    operator = LinearOperator((first.size, first.size), matvec=fixed, dtype=float)
    solved, failed = gmres(
        operator, first.ravel() / scale, rtol=SOLVED, restart=min(first.size, 200), maxiter=50
    )
    s = scale * (solved + solved.reshape(shape).T.ravel()).reshape(shape) / 2
    if failed or np.linalg.eigvalsh(s)[0] <= 0:
        raise Refused(
            f"with batches of {batch_size} fluctuations grow in mean square at the learning rate "
            f"{eta:g}: there is no stationary state about these factors"
        )
    return s
