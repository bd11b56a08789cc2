"""ReLU student and teacher: do the layers balance, and is it noise that balances them?

A teacher 3-16-1 without biases, weights of standard deviation 1.5, labels with noise 0.1. The
student starts at standard deviation 0.05, its units unbalanced by exp(-1.2) to exp(1.2): incoming
weights up, outgoing down. Plain SGD on fresh Gaussian inputs, batch 8, learning rate 5e-5 on the
mean squared error (here 1e-4 on half of it).

Each unit has one scale to move along, with the charge Q = |w|^2 - v^2. If charges are frozen, the
ratio |v|/|w| follows from Q and from how far the unit has grown, |w||v|, and tends to 1 by growth
alone. Noise takes far longer; with larger steps and more noise it can be seen, and it leads to
1/sqrt(inputs), not to 1; with weight decay, to a point between.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.dynamics import SGD, Problem, simulate
from symbias.dynamics.problem import Params
from symbias.mechanisms import equilibrium
from symbias.report import style
from symbias.studies.claims import equal, in_range
from symbias.studies.story import Setup, Story, in_single, named, over_seeds
from symbias.symmetry import Bond, Rescaling, Symmetry

INPUTS, UNITS = 3, 16
TILT = np.exp(np.linspace(-1.2, 1.2, UNITS)).astype(np.float32)
SYMMETRY = Symmetry(
    [Bond(Rescaling(UNITS), vectors=[("w", 0)], covectors=[("v", 0)], name="units")]
)
RULE = SGD(1e-4, batch_size=8)
SHOWN, FULL = 40_000, 500_000

# to the equilibrium: larger steps and label noise 1; weight decay -> steps
NOISY_RATE, NOISE, REPLICAS = 4e-3, 1.0, 4
DECAYS = {0.0: 5_000_000, 1e-3: 1_600_000, 1e-2: 400_000}


def network(w: Array, v: Array, x: Array) -> Array:
    """sum_j v_j max(0, <w_j, x>)."""
    return jnp.sum(jnp.maximum(jnp.sum(x[:, None, :] * w, axis=-1), 0) * v, axis=-1)


def draw(key: Array) -> Params:
    """Teacher and student of one seed; the teacher rides along, with no gradient."""
    keys = jax.random.split(key, 4)
    w, v = ((UNITS, INPUTS), (UNITS,))
    return {
        "teacher w": 1.5 * jax.random.normal(keys[0], w),
        "teacher v": 1.5 * jax.random.normal(keys[1], v),
        "w": 0.05 * jax.random.normal(keys[2], w) * TILT[:, None],
        "v": 0.05 * jax.random.normal(keys[3], v) / TILT,
    }


def predict(p: Params, x: Array) -> Array:
    """How far the student is from the teacher; the target is the noise of the labels."""
    teacher = jax.lax.stop_gradient((p["teacher w"], p["teacher v"]))
    return network(p["w"], p["v"], x) - network(*teacher, x)


def sampler(key: Array, size: int) -> tuple[Array, Array]:
    keys = jax.random.split(key)
    return jax.random.normal(keys[0], (size, INPUTS)), 0.1 * jax.random.normal(keys[1], (size,))


PROBLEM = Problem(predict=predict, params=draw, sampler=sampler, symmetry=SYMMETRY)


def squares(p: Params) -> Array:
    """|w_j|^2 and v_j^2, (2, units)."""
    return jnp.stack([jnp.sum(p["w"] ** 2, axis=-1), p["v"] ** 2])


def ratios_of(charge: np.ndarray, product: np.ndarray) -> np.ndarray:
    """|v|/|w| of units with the charge |w|^2 - v^2 and the product |w|^2 v^2."""
    total = np.sqrt(charge**2 + 4 * product)
    # the smaller of the two squares from the larger one, without cancellation
    larger = (np.abs(charge) + total) / 2
    small = product / larger
    return np.sqrt(np.where(charge > 0, small / larger, larger / small))


def train(seed: int, steps: int, path: Any = None) -> np.ndarray:
    """`squares` along the published run: (records, 2, units)."""
    run = simulate(
        PROBLEM, RULE, steps=steps, key=seed, every=500, observe={"squares": squares},
        path=path, progress=False,
    )  # fmt: skip
    return run.trace.squares.values[0].astype(float)


def summary(squares: np.ndarray) -> dict[str, np.ndarray]:
    """Ratios along a run, their prediction by frozen charges, and how far charges moved."""
    w2, v2 = squares[:, 0], squares[:, 1]
    charge = w2 - v2
    return {
        "ratio": np.sqrt(v2 / w2),
        "predicted": ratios_of(charge[0], w2 * v2),
        "moved": np.abs(charge - charge[0]).sum(axis=1) / np.abs(charge[0]).sum(),
    }


def noisy_problem(seed: int) -> Problem:
    """From the teacher itself, its units unbalanced, with label noise 1: only the gauge moves."""
    drawn = in_single(draw, seed)
    w, v = np.asarray(drawn["teacher w"]), np.asarray(drawn["teacher v"])

    def labelled(key: Array, size: int) -> tuple[Array, Array]:
        x, noise = sampler(key, size)
        return x, network(w, v, x) + 10 * NOISE * noise

    return Problem(
        predict=lambda p, x: network(p["w"], p["v"], x),
        params={"w": w * TILT[:, None], "v": v / TILT},
        sampler=labelled,
        symmetry=SYMMETRY,
    )


def predicted_curve(squares: np.ndarray, every: int, decay: float) -> np.ndarray:
    """Ratios by the mean drift of the charges, from the start on: (records, units).

    Q' = -2 eta decay Q + eta^2 noise^2 / (2 batch) (inputs v^2 - |w|^2), with the product |w||v|
    of each unit as measured. A record is made of Euler steps, short against the drift.
    """
    charge = squares[0, 0] - squares[0, 1]
    products, fine = squares[:, 0] * squares[:, 1], 20
    force = NOISY_RATE**2 * NOISE**2 / (2 * 8)
    ratios = [ratios_of(charge, products[0])]
    for product in products[1:]:
        for _ in range(fine):
            total = np.sqrt(charge**2 + 4 * product)
            w2, v2 = (total + charge) / 2, (total - charge) / 2
            drift = force * (INPUTS * v2 - w2) - 2 * NOISY_RATE * decay * charge
            charge = charge + every / fine * drift
        ratios.append(ratios_of(charge, product))
    return np.array(ratios)


def settle(problem: Problem, decay: float, steps: int, seed: int) -> dict[str, Any]:
    """One run to the equilibrium: ratios measured and predicted along it, medians over its tail."""
    rule, every = SGD(NOISY_RATE, 8, weight_decay=decay), steps // 400
    observe = {"squares": squares, "w": lambda p: p["w"], "v": lambda p: p["v"]}
    run = simulate(
        problem, rule, steps=steps, every=every, key=seed, observe=observe, progress=False
    )
    seen = run.trace.squares.values[0].astype(float)
    ratio, tail = np.sqrt(seen[:, 1] / seen[:, 0]), slice(3 * len(seen) // 5, None)
    snapshots = {k: run.trace[k].values[0, tail][::8] for k in ("w", "v")}
    settled = equilibrium(problem, snapshots, rule, batches=512)
    ends = np.abs(settled["v"]) / np.linalg.norm(settled["w"], axis=-1)
    return {
        "step": run.trace.step.values,
        "ratio": ratio,
        "curve": predicted_curve(seen, every, decay),
        "measured": float(np.median(ratio[tail])),
        "equilibrium": float(np.median(ends)),
    }


def study(at: Setup) -> Story:
    """ReLU layers: frozen charges predict the balance that is seen; noise leads elsewhere."""
    runs = [summary(s) for s in over_seeds(lambda seed: train(seed, SHOWN), at.seeds)]
    ends = np.array([run["ratio"][-1] for run in runs])
    predicted = np.array([run["predicted"][-1] for run in runs])
    at.say(f"{SHOWN} steps of {at.seeds} seeds")
    steps = SHOWN if at.quick else FULL
    full = summary(train(0, steps, at.folder / "runs" / "full"))
    problem = noisy_problem(0)
    kinds = {1e-2: DECAYS[1e-2] // 2} if at.quick else DECAYS
    noisy = {
        decay: over_seeds(partial(settle, problem, decay, n), REPLICAS)
        for decay, n in kinds.items()
    }
    at.say(f"noise equilibria at weight decay {', '.join(f'{d:g}' for d in noisy)}")

    story = Story("ReLU layers", (__doc__ or "").partition("\n\n")[2])
    story.claims = [
        in_range("ratio |v|/|w| of the median unit after 40k steps", np.median(ends, 1), 0.9, 1.05),
        in_range("least ratio of 16 units (published: 0.939)", ends.min(1), 0.9, 1.05),
        in_range("largest ratio of 16 units (published: 1.005)", ends.max(1), 0.9, 1.05),
        in_range(
            "ratio over the one that frozen charges predict, worst unit",
            np.exp(np.abs(np.log(ends / predicted)).max(1)), 1, 1.01, theory=True,
        ),
        in_range("charges that moved, share of their sum", [r["moved"][-1] for r in runs], 0, 0.05),
    ]  # fmt: skip
    for decay, found in noisy.items():
        name = f"weight decay {decay:g}" if decay else "no weight decay"
        values = [run["measured"] for run in found]
        if not decay:
            story.claims.append(
                equal(f"noise equilibrium, {name}: 1/sqrt(3)", INPUTS**-0.5, values, 0.05)
            )
        point = float(np.mean([run["equilibrium"] for run in found]))
        story.claims.append(
            equal(f"noise equilibrium, {name}: sb.equilibrium", point, values, 0.05)
        )
    within = int(np.sum((ends.min(1) >= 0.9) & (ends.max(1) <= 1.05)))
    story.findings = [
        f"In {within} of {at.seeds} seeds all units lie in [0.9, 1.05] after {SHOWN:,} steps. The "
        "others have units that hardly grew, and frozen charges predict those too: the worst unit "
        f"of all seeds is off by {np.abs(ends / predicted - 1).max():.1%}.",
        f"After {steps:,} steps of seed 0 the ratios are {full['ratio'][-1].min():.3f} to "
        f"{full['ratio'][-1].max():.3f} and charges moved by {full['moved'][-1]:.1%} of their sum.",
    ]
    story.figures = [
        (_draw(at, full, steps, noisy), "Ratios |v|/|w| of all units, measured (solid) and "
         "predicted (dashed). Left: the published setting, predicted by frozen charges. Right: to "
         "the noise equilibrium, predicted by the mean drift of the charges; median and quartiles "
         "of the units."),
    ]  # fmt: skip
    return story


def _draw(at: Setup, full: dict[str, Any], steps: int, noisy: dict[float, Any]) -> str:
    # evenly spread on the logarithmic axis
    rows = np.unique(np.geomspace(1, len(full["ratio"]) - 1, 120).astype(int))
    step = np.linspace(0, steps, len(full["ratio"]))[rows]
    full = {name: values[rows] for name, values in full.items()}
    columns = {"step": step} | named("measured", full["ratio"].T)
    columns |= named("predicted", full["predicted"].T)
    with style.axes(7.2, 3.2, columns=2) as (figure, (left, right)):
        left.plot(step, full["ratio"], color=style.FIT, lw=1.0, alpha=0.8)
        left.plot(step, full["predicted"], color=style.INK, lw=0.7, ls="--")
        left.axhline(1, color=style.MARK, lw=0.8)
        left.set(
            title="Published setting",
            xlabel="steps",
            ylabel="|v| / |w|",
            xscale="log",
            yscale="log",
        )
        for (decay, found), color in zip(
            noisy.items(), (style.FIT, style.SOFT, style.MARK), strict=False
        ):
            run = found[0]
            share = run["step"] / run["step"][-1]
            low, middle, high = np.quantile(run["ratio"], (0.25, 0.5, 0.75), axis=1)
            right.fill_between(share, low, high, color=color, alpha=0.2, lw=0)
            label = f"decay {decay:g}, {run['step'][-1] / 1e6:.2g} M steps"
            right.plot(share, middle, color=color, lw=1, label=label)
            right.plot(share, np.median(run["curve"], axis=1), color=style.INK, lw=0.8, ls="--")
        right.axhline(INPUTS**-0.5, color=style.DATA, lw=0.8)
        right.text(0.01, INPUTS**-0.5, "1/√3", va="bottom", color=style.DATA)
        right.set(title="To the noise equilibrium", xlabel="share of the run", yscale="log")
        right.legend()
        return at.figure(figure, "relu-balance", columns)
