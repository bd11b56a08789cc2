"""Label noise at learning rates of any size: the drift of the factors of w = u v.

As `LabelNoise.drift` says, against runs that know the loss and the factors alone.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from symbias.dynamics import SGD, Problem, simulate
from symbias.mechanisms import LabelNoise
from symbias.parameterizations import Hadamard, jacobian
from symbias.report.page import Section
from symbias.studies.claims import Claim, in_range, tables
from symbias.studies.story import over_seeds

Row = dict[str, Any]
Params = dict[str, np.ndarray]
SHARES = (0.1, 0.3, 0.6)  # learning rate times largest curvature / 2
SIGMA = 1e-5  # so small that runs stay where they start: the drift is that of one point
REPLICAS, MANY, PROBLEMS = 32, 128, 10
STEPS, HEAVY_STEPS = 20_000, 80_000  # momentum adds up what is random along the manifold


class Setting(NamedTuple):
    """A way of drawing batches, and how far from one another the inputs of a problem are.

    Batches of one hold a learning rate only where gradients of samples are alike: with momentum .9
    and ten times the noise, much alike.
    """

    name: str
    batch_size: int | None
    momentum: float
    samples: int = 3
    spread: float = 0.5


SETTINGS = (
    Setting("full batches", None, 0.0),
    Setting("batches of one", 1, 0.0),
    Setting("full batches", None, 0.9),
    Setting("batches of one", 1, 0.9, 2, 0.1),
)


class Fitted(NamedTuple):
    """Inputs, and factors at which training begins: labels are what they predict."""

    X: np.ndarray
    theta: Params
    gradients: np.ndarray  # of every prediction, (samples, factors)

    @classmethod
    def of(cls, seed: int, samples: int, spread: float, size: int = 5) -> "Fitted":
        rng = np.random.default_rng(seed)
        X = 1 + spread * rng.normal(size=(samples, size))
        u, v = rng.uniform(0.5, 1.5, (2, size)) * [np.ones(size), rng.choice([-1, 1], size)]
        return cls(X, {"u1": u, "u2": v}, np.hstack([X * v, X * u]))

    @property
    def curvatures(self) -> np.ndarray:
        """Of the loss, falling."""
        return np.linalg.svdvals(self.gradients) ** 2 / len(self.X)

    @property
    def tangents(self) -> np.ndarray:
        """The projection on the directions in which no prediction changes."""
        return np.eye(self.gradients.shape[1]) - np.linalg.pinv(self.gradients) @ self.gradients


def measured_drift(
    made: Fitted, rule: SGD, *, replicas: int = REPLICAS, steps: int = STEPS, key: int = 0
) -> np.ndarray:
    """Steps along the manifold, the mean over a run of each replica: (replicas, factors).

    Fluctuations across the manifold have settled before: after 3 relaxation times of the slowest.
    """
    p = Hadamard(made.X.shape[1])
    y = made.X @ np.asarray(p(made.theta))
    problem = Problem(lambda t, x: jnp.sum(x * p(t), axis=-1), made.theta, data=(made.X, y))
    before = 3 * (1 - rule.momentum) / (rule.learning_rate * made.curvatures[-1])
    run = simulate(
        problem,
        rule,
        steps=steps * (1 + int(np.ceil(before / steps))),
        every=steps,
        replicas=replicas,
        key=key,
        observe={"theta": lambda t: jnp.concatenate([t["u1"], t["u2"]])},
        progress=False,
    )
    seen = run.trace["theta"].values
    return (seen[:, -1] - seen[:, -2]) @ made.tangents / steps


def first_order(made: Fitted, mechanism: LabelNoise) -> np.ndarray:
    """By the mean squared gradient alone: -(eta sigma/(1 - beta))^2/4B times its gradient."""
    p, count = Hadamard(made.X.shape[1]), len(made.X)

    def size(theta: Any) -> Any:
        return jnp.sum((made.X @ jacobian(p, theta)) ** 2) / count

    with jax.enable_x64(True):
        slope = jax.grad(size)({k: jnp.asarray(v) for k, v in made.theta.items()})
    scale = (mechanism.rate * mechanism.sigma) ** 2 / (4 * (mechanism.batch_size or count))
    return -scale * made.tangents @ np.concatenate([slope["u1"], slope["u2"]])


def drift_row(
    setting: Setting, share: float, seed: int, *, replicas: int = REPLICAS, steps: int = STEPS
) -> Row:
    """The drift of one problem, as foretold and as measured.

    Returns
    -------
    dict
        "ratio", measured over predicted, along the prediction, with its "standard_error"; "error",
        the length of the difference of the two vectors over that of the measured one; those of the
        first order, "first_ratio" and "first_error"; "batches", how much of the prediction the
        logarithm of full batches would miss.
    """
    name, batch, momentum, samples, spread = setting
    made = Fitted.of(seed, samples, spread)
    rate = 2 * share / made.curvatures[0]
    mechanism = LabelNoise(SIGMA, rate, batch, momentum)
    p = Hadamard(made.X.shape[1])
    told = _flat(mechanism.drift(p, made.theta, made.X).theta)
    by_log = _flat(LabelNoise(SIGMA, rate, None, momentum).drift(p, made.theta, made.X).theta)
    by_log = by_log * samples / (batch or samples)
    rule = SGD(rate, batch, label_noise=SIGMA, momentum=momentum)
    each = measured_drift(made, rule, replicas=replicas, steps=steps, key=seed)
    mean, ratios = each.mean(axis=0), each @ told / (told @ told)
    first = first_order(made, mechanism)
    return {
        "setting": name,
        "momentum": momentum,
        "share": share,
        "seed": seed,
        "ratio": float(ratios.mean()),
        "standard_error": float(ratios.std(ddof=1) / np.sqrt(replicas)),
        "error": float(np.linalg.norm(told - mean) / np.linalg.norm(mean)),
        "first_ratio": float(mean @ first / (first @ first)),
        "first_error": float(np.linalg.norm(first - mean) / np.linalg.norm(mean)),
        "batches": float(np.linalg.norm(by_log - told) / np.linalg.norm(told)),
    }


def measure(quick: bool = False) -> list[Row]:
    """`drift_row` for all settings, shares and problems; quick, few steps of one problem.

    Batches of one at the largest share are near where fluctuations grow without bound: their tails
    are long, and take more replicas.
    """
    if quick:
        return [drift_row(s, 0.3, 2, replicas=8, steps=4000) for s in SETTINGS]
    found = []
    for setting, share in product(SETTINGS, SHARES):
        many = setting.batch_size and share == SHARES[-1]
        one = partial(
            drift_row,
            setting,
            share,
            replicas=MANY if many else REPLICAS,
            steps=HEAVY_STEPS if setting.momentum else STEPS,
        )
        found += over_seeds(one, PROBLEMS)
    return found


def _flat(theta: Params) -> np.ndarray:
    return np.concatenate([theta["u1"], theta["u2"]])


def claims(found: Sequence[Row]) -> list[Claim]:
    """What theory says of these rows, each with its verdict over problems."""
    made = []
    for setting in SETTINGS:
        for share in SHARES:
            same = (setting.name, setting.momentum, share)
            ratios = [
                r["ratio"] for r in found if (r["setting"], r["momentum"], r["share"]) == same
            ]
            if not ratios:
                continue
            said = f"{setting.name}, momentum {setting.momentum:g}, eta h/2 = {share:g}: "
            said += "drift, measured over predicted"
            made.append(in_range(said, ratios, 0.98, 1.02, theory=True))
    return made


def section(found: Sequence[Row]) -> Section:
    """Drifts, predicted and measured, for a page."""
    body = []
    for name, momentum, share in dict.fromkeys(
        (r["setting"], r["momentum"], r["share"]) for r in found
    ):
        own = [r for r in found if (r["setting"], r["momentum"], r["share"])
               == (name, momentum, share)]  # fmt: skip
        ratios, first = ([r[k] for r in own] for k in ("ratio", "first_error"))
        range_ = f"{min(ratios):.4f} to {max(ratios):.4f}"
        body.append([name, f"{momentum:g}", f"{share:g}", f"{np.median(ratios):.4f}", range_,
                     f"{np.median(first):.0%}"])  # fmt: skip
    worst = max(abs(r["ratio"] - 1) for r in found)
    header = ["batches", "momentum", "eta h/2", "measured over predicted", "of all problems",
              "error of the first order"]  # fmt: skip
    return Section(
        "The drift at learning rates of any size",
        "Along the w that fit, factors move by -eta/(1 - beta) times the mean of the third "
        "derivatives against the stationary covariance of their fluctuations; h is the largest "
        "curvature.",
        answer=f"The largest error of a predicted drift is {worst:.1%}.",
        tables=[("", [header, *body]), *tables([c.to_dict() for c in claims(found)])],
    )
