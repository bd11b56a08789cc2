"""Attention head, student and teacher: which measure of balance, and balanced by what?

One head of size 8 on sequences of 8 tokens of 16 numbers, no output matrix. Teacher weights of
standard deviation 0.75, the columns of W_Q times 4 + 4|N(0, 1)|; the student starts at 0.1, its
columns of Q and K unbalanced by exp(-1.2) to exp(1.2), those of Q times 1/4 + |N(0, 1)|/4. Fresh
Gaussian inputs, batch 16, labels with noise 0.02, learning rate 1e-3 on the mean squared error.

The logits see Q K^T only, so the group is GL(8) and the charge Q^T Q - K^T K a full 8 x 8 matrix;
ratios of column norms look at its diagonal alone. As with ReLU layers, nearly frozen charges and
growth are all that the published setting shows. A head with weight decay and label noise 2
reaches the noise equilibrium, which is not the balanced point.
"""

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
from symbias.symmetry import Bond, GeneralLinear, Symmetry, balance

WIDTH, HEAD, TOKENS = 16, 8, 8
TILT = np.exp(np.linspace(-1.2, 1.2, HEAD)).astype(np.float32)
BOND = Bond(GeneralLinear(HEAD), vectors=[("q", 1)], covectors=[("k", 1)], name="logits")
RULE = SGD(1e-3 / (TOKENS * HEAD / 2), batch_size=16)  # the loss of the library is half the sum
SHOWN, FULL = 50_000, 300_000
NOISY_RULE, NOISE, NOISY_STEPS, REPLICAS = SGD(5e-3, 16, weight_decay=1e-2), 2.0, 100_000, 4


def head(q: Array, k: Array, v: Array, x: Array) -> Array:
    """softmax(x Q K^T x^T / sqrt 8) x V, the three projections in one product."""
    w = jnp.concatenate([q, k, v], axis=1)
    projected = (x.reshape(-1, WIDTH) @ w).reshape(*x.shape[:2], 3 * HEAD)
    queries, keys, values = jnp.split(projected, 3, axis=-1)
    logits = queries @ jnp.swapaxes(keys, -1, -2) / HEAD**0.5
    return jax.nn.softmax(logits, axis=-1) @ values


def draw(key: Array) -> Params:
    """Teacher and student of one seed; the teacher rides along, with no gradient."""
    keys = iter(jax.random.split(key, 8))

    def normal(scale: float) -> Array:
        return scale * jax.random.normal(next(keys), (WIDTH, HEAD))

    def boost() -> Array:
        return 1 + jnp.abs(jax.random.normal(next(keys), (HEAD,)))

    teacher = {f"teacher {name}": normal(0.75) for name in "qkv"}
    student = {name: normal(0.1) for name in "qkv"}
    teacher["teacher q"] *= 4 * boost()
    student["q"] *= TILT * boost() / 4
    student["k"] /= TILT
    return teacher | student


def sampler(key: Array, size: int) -> tuple[Array, Array]:
    keys = jax.random.split(key)
    noise = 0.02 * jax.random.normal(keys[1], (size, TOKENS, HEAD))
    return jax.random.normal(keys[0], (size, TOKENS, WIDTH)), noise


def predict(p: Params, x: Array) -> Array:
    """How far the student is from the teacher; the target is the noise of the labels."""
    q, k, v = (jax.lax.stop_gradient(p[f"teacher {name}"]) for name in "qkv")
    return head(p["q"], p["k"], p["v"], x) - head(q, k, v, x)


PROBLEM = Problem(predict=predict, params=draw, sampler=sampler, symmetry=Symmetry([BOND]))
FACTORS = {"q": lambda p: p["q"], "k": lambda p: p["k"]}


def train(seed: int, steps: int, path: Any = None) -> dict[str, np.ndarray]:
    run = simulate(
        PROBLEM, RULE, steps=steps, key=seed, every=steps // 100, observe=FACTORS, path=path,
        progress=False,
    )  # fmt: skip
    return summary(run.trace.q.values[0], run.trace.k.values[0])


def summary(q: np.ndarray, k: np.ndarray) -> dict[str, np.ndarray]:
    """What balance looks like along a run, from q and k (records, 16, 8)."""
    q, k = q.astype(float), k.astype(float)
    m, n = np.swapaxes(q, 1, 2) @ q, np.swapaxes(k, 1, 2) @ k
    charge = m - n
    size = np.linalg.norm(m + n, axis=(1, 2))
    return {
        "ratio": np.linalg.norm(q, axis=1) / np.linalg.norm(k, axis=1),
        "imbalance": np.linalg.norm(charge, axis=(1, 2)) / size,
        "frozen": np.linalg.norm(charge[0]) / size,
        "moved": np.linalg.norm(charge - charge[0], axis=(1, 2)) / np.linalg.norm(charge[0]),
        "spectra": np.stack([np.linalg.svdvals(q), np.linalg.svdvals(k)], axis=1),
    }


def noisy_problem(seed: int) -> Problem:
    """From a teacher of moderate logits, its gauge unbalanced, with label noise."""
    drawn = in_single(draw, seed)
    q, k, v = (7.5 * np.asarray(drawn[name]) for name in "qkv")

    def labelled(key: Array, size: int) -> tuple[Array, Array]:
        x, noise = sampler(key, size)
        return x, head(q, k, v, x) + NOISE / 0.02 * noise

    return Problem(
        predict=lambda p, x: head(p["q"], p["k"], p["v"], x),
        params={"q": q, "k": k, "v": v},
        sampler=labelled,
        symmetry=Symmetry([BOND]),
    )


def settle(problem: Problem, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Spectra of Q and K, (2, 8): measured over the last half of a run, predicted, balanced."""
    observe = {name: lambda p, name=name: p[name] for name in "qkv"}
    run = simulate(
        problem, NOISY_RULE, steps=steps, every=steps // 200, key=seed, observe=observe,
        progress=False,
    )  # fmt: skip
    tail = {name: run.trace[name].values[0, 100:] for name in "qkv"}
    settled = equilibrium(problem, {k: v[::5] for k, v in tail.items()}, NOISY_RULE, batches=256)
    points = [
        balance(problem.symmetry, {k: v[i] for k, v in tail.items()}).params
        for i in range(0, 100, 20)
    ]
    along = np.stack([np.linalg.svdvals(run.trace[name].values[0]) for name in "qk"], axis=1)
    return {
        "along": along,
        "measured": along[100:].mean(axis=0),
        "predicted": np.stack([np.linalg.svdvals(settled[name]) for name in "qk"], 1).mean(axis=0),
        "balanced": np.mean(
            [[np.linalg.svdvals(p[name]) for name in "qk"] for p in points], axis=0
        ),
    }


def study(at: Setup) -> Story:
    """Attention: columns look balanced before the matrices are; noise leads elsewhere."""
    shown = SHOWN // 2 if at.quick else SHOWN
    runs = over_seeds(lambda seed: train(seed, shown), at.seeds)
    at.say(f"{shown} steps of {at.seeds} seeds")
    steps = SHOWN if at.quick else FULL
    full = train(0, steps, at.folder / "runs" / "full")
    problem = noisy_problem(0)
    kept = NOISY_STEPS // (4 if at.quick else 1)
    noisy = over_seeds(lambda k: settle(problem, kept, k), REPLICAS)
    at.say("noise equilibrium")

    ends = np.array([run["ratio"][-1] for run in runs])
    measured, predicted, balanced = (
        np.array([run[name] for run in noisy]) for name in ("measured", "predicted", "balanced")
    )
    worst = np.abs(measured / predicted - 1).max(axis=(1, 2))
    naive = np.abs(measured / balanced - 1).max(axis=(1, 2))
    story = Story("Attention", (__doc__ or "").partition("\n\n")[2])
    story.claims = [
        in_range(f"least ratio of 8 columns after {shown // 1000}k steps", ends.min(1), 0.9, 1.05),
        in_range("largest ratio of 8 columns (published: 1.012)", ends.max(1), 0.9, 1.05),
        in_range(
            "full charge |M - N|/|M + N| over what frozen charges predict",
            [run["imbalance"][-1] / run["frozen"][-1] for run in runs], 0.95, 1.05,
            theory=True,
        ),
        in_range("charge that moved, share of |Q|", [run["moved"][-1] for run in runs], 0, 0.05),
    ]  # fmt: skip
    for side, name in enumerate(("Q", "K")):
        for i in (0, 4, HEAD - 1):
            point = float(predicted[:, side, i].mean())
            text = f"noise equilibrium, singular value {i + 1} of {name}"
            story.claims.append(equal(text, point, measured[:, side, i], 0.02))
    off = np.abs(full["ratio"][-1] - 1).max()
    story.findings = [
        f"After {steps:,} steps of seed 0 the worst column is {off:.1%} from balance, and the "
        f"charge moved by {full['moved'][-1]:.1%}. Over all 64 entries of the "
        f"charge, |M - N| is {full['imbalance'][-1]:.1%} of |M + N|.",
        "At the noise equilibrium the worst of 16 singular values is off by "
        f"{np.median(worst):.1%} from the prediction, and by {np.median(naive):.1%} from the "
        "balanced point.",
    ]
    story.numbers = {"worst_balanced": naive.tolist(), "worst_predicted": worst.tolist()}
    story.figures = [
        (_draw_published(at, full, steps), "The published setting. Left: ratios of the column "
         "norms of Q and K. Middle: the full charge relative to the size of both factors, measured "
         "and as frozen charges predict it. Right: singular values of Q (solid) and K (dashed)."),
        (_draw_noisy(at, noisy, kept), "To the noise equilibrium. Left: singular values of Q and K "
         "along one run; dots where the prediction puts them. Right: measured over predicted, and "
         "over balanced."),
    ]  # fmt: skip
    return story


def _draw_published(at: Setup, full: dict[str, Any], steps: int) -> str:
    step = np.linspace(0, steps, len(full["ratio"]))
    columns = {"step": step, "charge": full["imbalance"], "charge predicted": full["frozen"]}
    columns |= named("ratio", full["ratio"].T)
    columns |= named("Q", full["spectra"][:, 0].T) | named("K", full["spectra"][:, 1].T)
    with style.axes(7.2, 2.6, columns=3) as (figure, (left, middle, right)):
        left.plot(step / 1000, full["ratio"], color=style.FIT, lw=1)
        left.set(title="Columns", ylabel="|Q| / |K|", yscale="log", xlabel="thousand steps")
        middle.plot(step / 1000, full["imbalance"], color=style.FIT, label="measured")
        middle.plot(
            step / 1000, full["frozen"], color=style.INK, lw=0.9, ls="--", label="predicted"
        )
        middle.set(
            title="Full charge", ylabel="|M - N| / |M + N|", yscale="log", xlabel="thousand steps"
        )
        middle.legend()
        right.plot(step / 1000, full["spectra"][:, 0], color=style.FIT, lw=1)
        right.plot(step / 1000, full["spectra"][:, 1], color=style.MARK, lw=1, ls="--")
        right.set(title="Spectra", ylabel="singular value", xlabel="thousand steps")
        return at.figure(figure, "attention-published", columns)


def _draw_noisy(at: Setup, noisy: list[dict[str, Any]], steps: int) -> str:
    run, colors = noisy[0], (style.FIT, style.MARK)
    step = np.linspace(0, steps, len(run["along"]))
    columns = {"step": step} | named("Q", run["along"][:, 0].T) | named("K", run["along"][:, 1].T)
    with style.axes(7.2, 2.8, columns=2) as (figure, (left, right)):
        for side, color in enumerate(colors):
            left.plot(step / 1000, run["along"][:, side], color=color, lw=0.8)
            left.plot(np.full(HEAD, steps * 1.03 / 1000), run["predicted"][side], ".", color=color)
        left.set(title="One run", ylabel="singular value", xlabel="thousand steps")
        where = np.arange(1, HEAD + 1)
        for side, (name, color) in enumerate(zip("QK", colors, strict=True)):
            for against, marker in (("predicted", "o"), ("balanced", "x")):
                ratio = np.mean([r["measured"][side] / r[against][side] for r in noisy], axis=0)
                right.plot(where, ratio, marker, color=color, ms=4, label=f"{name}, {against}")
        right.axhline(1, color=style.DATA, lw=0.8)
        right.set(title="Measured over", xlabel="singular value", xticks=where)
        right.legend(ncols=2, fontsize=7)
        return at.figure(figure, "attention-equilibrium", columns)
