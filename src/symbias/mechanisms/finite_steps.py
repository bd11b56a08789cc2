r"""Steps of a finite size on products of two numbers: gradient flow from another start.

One step of (S)GD on w = u v with the gradient g of its batch is :math:`p \to p\,(1 - \eta g)`,
:math:`q \to q\,(1 + \eta g)` for p = u + v, q = u - v, so

.. math:: c_\infty = c_0 \prod_t |1 - \eta^2 g_t^2|, \qquad \tfrac12 \log\Bigl|\frac pq\Bigr|
    \text{ moves by } -\sum_t \operatorname{atanh}(\eta g_t)

with c = |p q|, and the second is :math:`\psi'(w) = \frac12 \operatorname{asinh}(2w/c)`. As
:math:`\sum_t g_t` lies in the row space of the inputs, the interpolator that a run ends at is the
Bregman projection with the charges :math:`c_\infty` from a start whose dual is moved by what
:math:`\eta \sum g_t - \sum \operatorname{atanh}(\eta g_t)` has outside of that space.

For a length, :math:`w = |x|^2`, a step is :math:`x \to (1 - 2 \eta g)\,x`: there are no charges,
and :math:`\psi'(w) = \frac12 \log|x|` moves by :math:`\frac12 \sum \log|1 - 2 \eta g_t|`.

References
----------
Pesme, Pillaud-Vivien, Flammarion, "Implicit bias of SGD for diagonal linear networks: a provable
benefit of stochasticity", NeurIPS 2021; Even, Pesme, Gunasekar, Flammarion, "(S)GD over diagonal
linear networks: implicit regularisation, large stepsizes and edge of stability", NeurIPS 2023.
"""

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from symbias._core.arrays import Array
from symbias._core.refusal import Refused
from symbias.mechanisms.charts import chart_at, rounded
from symbias.mechanisms.potentials import synthesis_matrix
from symbias.parameterizations import Parameterization

Params = dict[str, np.ndarray]
RTOL, ATOL, LONGEST = 1e-8, 1e-10, 1e12
FITTED = 1e-5  # largest residual of a run that counts as interpolating, relative to the labels
ENDED = 1e-8  # the same of the flow along which charges are estimated


def start_of_run(
    p: Parameterization, start: Params, run: Any, inputs: np.ndarray, replica: int
) -> Params:
    """Factors from which the flow selects the w that this run did.

    The charges are those of its end; the dual is that of ``start``, moved by what the dual of its
    end has gained outside of the row space of ``inputs``, shape (n, size of w).
    """
    _check_rule(run.rule)
    first = chart_at(p, start)
    final = _final(p, run, inputs, replica)
    end = chart_at(p, final)
    gained = end.duals - first.duals
    features = inputs @ synthesis_matrix(p)
    inside = features.T @ np.linalg.lstsq(features.T, gained, rcond=None)[0]
    return first.moved(gained - inside, end.kept).factors(p)


def start_of_steps(
    p: Parameterization, start: Params, gradients: np.ndarray, learning_rate: float
) -> Params:
    """Factors from which the flow selects what plain (S)GD of these gradients does.

    ``gradients``, shape (steps, coordinates), are those of the batches with respect to the
    coordinates of w, free ones first.
    """
    return chart_at(p, start).stepped(learning_rate * gradients).factors(p)


def expected_start(
    p: Parameterization, start: Params, inputs: np.ndarray, y: np.ndarray, samples: int, rule: Any
) -> Params:
    r"""The start that steps of this rule are expected to have: with other charges, or lengths.

    Along the flow :math:`\dot\nu = -r/n` of the dual :math:`s = s_0 + F^T\nu`,

    .. math:: \frac{d\log c_j}{dt} = -a\,g_j^2 - b\,\bigl(\overline{G_{ij}^2} - g_j^2\bigr)

    with :math:`G_i` the gradients of single samples and g their mean; the dual of a length moves by
    as much, of its start. ``inputs`` and ``y`` have
    one row for each prediction, ``samples`` counts the samples that they belong to.
    """
    mean, spread = _coefficients(rule, samples)
    first = chart_at(p, start)
    features = inputs @ synthesis_matrix(p)
    count, free = len(features), first.free_count

    def at(state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        now = first.moved(features.T @ state[:count], state[count:])
        residual = features @ now.w() - y
        each = (features[:, free:] * residual[:, None]).reshape(samples, -1, len(now.kept))
        return residual, features[:, free:].T @ residual / samples, each.sum(axis=1)

    def speed(_: float, state: np.ndarray) -> np.ndarray:
        residual, g, each = at(state)
        squares = mean * g**2 + spread * (np.mean(each**2, axis=0) - g**2)
        return np.concatenate([-residual / samples, -first.curvature * squares])

    def left(_: float, state: np.ndarray) -> float:
        return float(np.abs(at(state)[0]).max()) - ENDED * max(1.0, float(np.abs(y).max()))

    left.terminal = True  # type: ignore[attr-defined]
    begin = np.concatenate([np.zeros(count), first.kept])
    if left(0.0, begin) <= 0:
        return first.factors(p)  # nothing to learn
    with np.errstate(over="ignore", invalid="ignore"):  # as where charges vanish: refused below
        flow = solve_ivp(
            speed, (0.0, LONGEST), begin, method="LSODA", events=left, rtol=RTOL, atol=ATOL
        )
    if not (flow.success and len(flow.t_events[0])):
        raise ValueError(
            f"the charges that steps of {rule.learning_rate:g} leave are not small changes: the "
            "flow does not come to the data. Take a smaller learning rate"
        )
    return first.moved(np.zeros(features.shape[1]), flow.y[count:, -1]).factors(p)


def _coefficients(rule: Any, samples: int) -> tuple[float, float]:
    """Of the squared mean gradient and of the variance over samples, in the drift of log c.

    With momentum beta time is t = k eta/(1 - beta), and :math:`a = \\eta (1+\\beta)/(1-\\beta)^2`,
    :math:`b = \\eta/(1-\\beta)` times the variance of a batch over that of a sample.
    """
    _check_rule(rule)
    if rule.batch_size is None:
        ratio = 0.0
    elif rule.replace:
        ratio = 1 / rule.batch_size
    elif rule.batch_size > samples:
        raise ValueError(f"batch_size {rule.batch_size} exceeds the {samples} samples of data")
    elif rule.momentum and rule.batch_size < samples:
        raise Refused(
            "batches of one epoch are anticorrelated and momentum adds them up: no drift of "
            "charges is known. Use replace=True, or no momentum"
        )
    else:
        ratio = (samples - rule.batch_size) / (max(samples - 1, 1) * rule.batch_size)
    keep = 1 - rule.momentum
    rate = rule.learning_rate
    return rate * (1 + rule.momentum) / keep**2, rate / keep * ratio


def _check_rule(rule: Any) -> None:
    from symbias.dynamics import SGD

    if not isinstance(rule, SGD):
        raise Refused(
            f"{type(rule).__name__} does not move the dual along gradients: the drift of charges "
            "is known for sb.SGD, with or without momentum"
        )
    if rule.weight_decay or rule.label_noise:
        kept = "weight decay" if rule.weight_decay else "label noise"
        raise Refused(f"{kept} goes on to move w after the data are fitted: no start is selected")
    if rule.nesterov:
        raise Refused("the drift of charges is known for heavy ball: use nesterov=False")


def _final(p: Parameterization, run: Any, inputs: np.ndarray, replica: int) -> Params:
    """The last factors of a run of this model that fitted its data."""
    if run.problem.data is None:
        raise ValueError("the run has no data set, and no interpolator: give Problem(..., data=)")
    if not -len(run.diverged) <= replica < len(run.diverged):
        raise ValueError(f"replica {replica} of {len(run.diverged)}")
    if run.diverged[replica] >= 0:
        raise ValueError(f"replica {replica} diverged at step {run.diverged[replica]}")
    last = {name: v[replica] for name, v in run.final.items()}
    if {k: v.shape for k, v in last.items()} != dict(p.shapes):
        raise ValueError(f"the run is of factors {sorted(last)}, not of those of {p!r}")
    precision = max(float(np.finfo(v.dtype).eps) for v in last.values())
    final = {k: v.astype(float) for k, v in last.items()}
    with run.problem.precision():
        x, y = run.problem.arrays()
        seen: Array = np.ravel(run.problem.predict(last, x)).astype(float)
    wanted, target = inputs @ np.ravel(p(final)), np.ravel(y).astype(float)
    scale = max(1.0, float(np.abs(target).max()))
    if seen.shape != wanted.shape or np.abs(seen - wanted).max() > 100 * precision**0.75 * scale:
        raise ValueError(f"the run predicts other than <inputs_i, w> of {p!r} at its end")
    if (off := np.abs(wanted - target).max()) > FITTED * scale:
        raise ValueError(
            f"the run ends {off:.1e} from its labels and not at an interpolator: it needs more "
            "steps, or a smaller learning rate"
        )
    if rounded(p, final, precision):
        raise ValueError(
            "rounding hides charges u^2 - v^2 of the run: start from a larger init_scale, or run "
            "in float64 (Problem(..., x64=True))"
        )
    return final
