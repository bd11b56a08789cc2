"""Matrix completion: what a product of two factors can find, and what it cannot.

A 20 x 20 matrix with singular values 15 and 5, a product P Q of inner size 20, started at standard
deviations 0.11 and 0.1. Each step sees a random half of the observed entries; learning rate 1e-3 on
the mean of all 400 squared errors. With 20% of the entries, 80, for a matrix of 76 degrees of
freedom, nothing can recover it, and the true singular values stay far from those found.

With 60%, all of them at each step, it can be recovered: the matrix of least nuclear norm that fits
the entries is the right one. Weight decay on the factors is the nuclear norm, exactly, so a run
with it is predicted to end at the convex optimum from any start. Without it there is no potential
(the gradient flows of the entries do not commute): a small start comes close to the least nuclear
norm, a large one keeps what it started with.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symbias._core.arrays import Array
from symbias.dynamics import SGD, Problem, Run, simulate
from symbias.dynamics.problem import Params
from symbias.report import style
from symbias.studies.claims import in_range
from symbias.studies.relu_balance import ratios_of
from symbias.studies.story import Setup, Story, in_single, named, over_seeds
from symbias.symmetry import Bond, GeneralLinear, Symmetry

SIZE, TRUE = 20, np.array([15.0, 5.0], np.float32)
SYMMETRY = Symmetry(
    [Bond(GeneralLinear(SIZE), vectors=[("p", 1)], covectors=[("q", 0)], name="rank")]
)
RULE, STEPS = SGD(2e-3, batch_size=1), 500_000  # the loss here is half the mean
FAST, FAST_STEPS, DECAY = 1.0, 100_000, 1e-4
STARTS = {"start 0.1": (1.0, 0.0), "start 0.001": (0.01, 0.0), "weight decay": (1.0, DECAY)}


def draw(key: Array, share: float = 0.2, scale: float = 1.0) -> Params:
    """The matrix, which entries are seen, and the factors; the first two get no gradient."""
    keys = jax.random.split(key, 5)
    u, v = (jnp.linalg.qr(jax.random.normal(k, (SIZE, 2)))[0] for k in keys[:2])
    order = jax.random.permutation(keys[2], SIZE**2).reshape(SIZE, SIZE)
    return {
        "truth": (u * TRUE) @ v.T,
        "seen": (order < share * SIZE**2).astype(float),
        "p": scale * 0.11 * jax.random.normal(keys[3], (SIZE, SIZE)),
        "q": scale * 0.10 * jax.random.normal(keys[4], (SIZE, SIZE)),
    }


def predict(p: Params, coins: Array) -> Array:
    """Errors of the entries that are seen and whose coin fell on heads."""
    truth, seen = jax.lax.stop_gradient((p["truth"], p["seen"]))
    return (p["p"] @ p["q"] - truth) * seen * coins


def loss(errors: Array, _: Array) -> Array:
    return jnp.mean(errors**2) / 2


def sampler(key: Array, size: int) -> tuple[Array, Array]:
    """A fair coin for each entry, 32 of them from each random word."""
    words = jax.random.bits(key, (13, 1)) >> jnp.arange(32, dtype=jnp.uint32)
    coins = (words & 1).reshape(-1)[: SIZE**2].reshape(SIZE, SIZE)
    return (coins == 1)[None], jnp.zeros(1)


PROBLEM = Problem(predict=predict, params=draw, sampler=sampler, loss=loss, symmetry=SYMMETRY)


def product(p: Params) -> Array:
    return p["p"] @ p["q"]


def norms(p: Params) -> Array:
    """Norms of the columns of P and of the rows of Q, (2, 20)."""
    return jnp.stack([jnp.linalg.norm(p["p"], axis=0), jnp.linalg.norm(p["q"], axis=1)])


def train(seed: int, steps: int, rule: SGD = RULE, path: Any = None) -> dict[str, Any]:
    """The published run: singular values, error and column ratios along it."""
    run = simulate(
        PROBLEM, rule, steps=steps, key=seed, every=steps // 50, path=path, progress=False,
        observe={"w": product, "norms": norms},
    )  # fmt: skip
    truth = run.final["truth"][0].astype(float)
    w, size = (run.trace[name].values[0].astype(float) for name in ("w", "norms"))
    charge = size[0, 0] ** 2 - size[0, 1] ** 2
    return {
        "values": np.linalg.svdvals(w),
        "error": np.linalg.norm(w - truth, axis=(1, 2)) / np.linalg.norm(truth),
        "ratio": size[:, 0] / size[:, 1],
        "predicted": 1 / ratios_of(charge, size[:, 0] ** 2 * size[:, 1] ** 2),
    }


def enough(seed: int, steps: int) -> dict[str, Any]:
    """60% of the entries: errors and distances to the convex optimum of three kinds of training."""
    data = in_single(draw, seed, 0.6)
    truth, seen = data["truth"].astype(float), data["seen"].astype(float)
    least = nuclear_optimum(truth, seen, 1e-6)
    found: dict[str, Any] = {"optimum error": _off(least, truth)}
    for name, (scale, decay) in STARTS.items():
        run = _fast(data, scale, decay, steps, seed)
        w = run.trace.w.values[0].astype(float)
        aim = nuclear_optimum(truth, seen, decay) if decay else least
        found[name] = {
            "error": np.linalg.norm(w - truth, axis=(1, 2)) / np.linalg.norm(truth),
            "nuclear": np.linalg.svdvals(w).sum(axis=1),
            "distance": _off(w[-1], aim),
        }
    return found


def _fast(data: Params, scale: float, decay: float, steps: int, seed: int) -> Run:
    """The data as an argument of the loss, so that seeds share one compiled program."""
    inputs = (data["truth"][None], data["seen"][None])

    def errors(p: Params, truth: Array) -> Array:
        return p["p"] @ p["q"] - truth[0]

    def masked(error: Array, seen: Array) -> Array:
        return jnp.mean((error * seen[0]) ** 2) / 4  # a random half of the entries, on average

    params = {name: scale * data[name] for name in ("p", "q")}
    problem = Problem(predict=errors, params=params, data=inputs, loss=masked, symmetry=SYMMETRY)
    return simulate(
        problem, SGD(FAST, weight_decay=decay), steps=steps, every=steps // 100, key=seed,
        observe={"w": product}, progress=False,
    )  # fmt: skip


def nuclear_optimum(truth: np.ndarray, seen: np.ndarray, decay: float) -> np.ndarray:
    """argmin |seen (W - truth)|^2 / (4 * 400) + decay |W|_*, by accelerated proximal steps.

    No factors: the singular values are soft-thresholded.
    """
    threshold = 2 * SIZE**2 * decay
    w = ahead = np.zeros_like(truth)
    momentum = 1.0
    for _ in range(20_000):
        u, s, vt = np.linalg.svd(ahead - seen * (ahead - truth))
        new = (u * np.maximum(s - threshold, 0)) @ vt
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - w)
        if np.sum((ahead - new) * (new - w)) < 0:  # restart
            ahead, following = new, 1.0
        change, w, momentum = np.linalg.norm(new - w), new, following
        if change < 1e-9 * np.linalg.norm(w):
            break
    return w


def _off(w: np.ndarray, aim: np.ndarray) -> float:
    return float(np.linalg.norm(w - aim) / np.linalg.norm(aim))


def study(at: Setup) -> Story:
    """Matrix completion: 80 entries cannot do; with 240 the bias recovers the matrix."""
    # the quick form takes a tenth of the steps, ten times as long
    steps, rule = (STEPS // 10, SGD(10 * RULE.learning_rate, 1)) if at.quick else (STEPS, RULE)
    runs = over_seeds(lambda seed: train(seed, steps, rule), at.seeds)
    full = train(0, steps, rule, at.folder / "runs" / "full")
    at.say(f"{steps} steps of {at.seeds} seeds, 20% of the entries")
    fast = FAST_STEPS // (4 if at.quick else 1)
    recovered = over_seeds(lambda seed: enough(seed, fast), at.seeds)
    at.say("60% of the entries")

    story = Story("Matrix completion", (__doc__ or "").partition("\n\n")[2])
    ends = np.array([run["ratio"][-1] for run in runs])
    predicted = np.array([run["predicted"][-1] for run in runs])
    worst = np.exp(np.abs(np.log(ends / predicted)).max(1))
    story.claims = [
        in_range("20%: relative error: not recovered", [r["error"][-1] for r in runs], 0.2),
        in_range(
            "20%: largest singular value found (true: 15)", [r["values"][-1, 0] for r in runs],
            0, 14.25,
        ),
        in_range("20%: least ratio of 20 columns (published: 0.93)", ends.min(1), 0.8, 1.0),
        in_range("20%: largest ratio of 20 columns (published: 1.25)", ends.max(1), 1.0, 1.4),
        in_range("20%: ratio over that of frozen charges, worst column", worst, 1, 1.01,
                 theory=True),
        in_range(
            "60%: relative error of the least nuclear norm",
            [r["optimum error"] for r in recovered], 0, 0.05,
        ),
    ]  # fmt: skip
    for name in STARTS:
        distance = [r[name]["distance"] for r in recovered]
        low, high = (0.05, 1) if name == "start 0.1" else (0, 0.05)
        kind = "kept its start: " if low else ""
        story.claims.append(
            in_range(
                f"60%, {name}: {kind}distance to the nuclear-norm optimum",
                distance,
                low,
                high,
                theory=name == "weight decay",
            )
        )
    top = full["values"][-1]
    story.findings = [
        f"With 80 entries, seed 0 ends at singular values {top[0]:.1f}, {top[1]:.1f}, {top[2]:.1f} "
        f"(twice: {2 * top[0]:.1f}, {2 * top[1]:.1f}) where the truth has 15 and 5: relative error "
        f"{full['error'][-1]:.0%}.",
    ]
    story.figures = [
        (_draw_published(at, full, steps), "20% of the entries. Left: singular values along the "
         "run, the true ones as lines at 15 and 5. Right: ratios of column norms, measured (solid) "
         "and by frozen charges (dashed)."),
        (_draw_enough(at, recovered, fast), "60% of the entries. Error along the runs, median and "
         "range over seeds; the dotted line is the matrix of least nuclear norm."),
    ]  # fmt: skip
    return story


def _draw_published(at: Setup, full: dict[str, Any], steps: int) -> str:
    step = np.linspace(0, steps, len(full["ratio"])) / 1000
    columns = {"thousand steps": step} | named("singular value", full["values"].T)
    columns |= named("ratio", full["ratio"].T) | named("ratio predicted", full["predicted"].T)
    with style.axes(7.2, 2.8, columns=2) as (figure, (left, right)):
        left.plot(step, full["values"], color=style.FIT, lw=1)
        for value in TRUE:
            left.axhline(value, color=style.MARK, lw=0.9, ls="--")
        left.set(title="Singular values", xlabel="thousand steps")
        right.plot(step, full["ratio"], color=style.FIT, lw=0.8)
        right.plot(step, full["predicted"], color=style.INK, lw=0.7, ls="--")
        right.set(title="Column norms of P over Q", xlabel="thousand steps")
        return at.figure(figure, "completion-published", columns)


def _draw_enough(at: Setup, recovered: list[dict[str, Any]], steps: int) -> str:
    step = np.linspace(0, steps, 101) / 1000
    columns: dict[str, Any] = {"thousand steps": step}
    with style.axes(6.4, 3.0) as (figure, axes):
        for name, color in zip(STARTS, (style.DATA, style.FIT, style.MARK), strict=True):
            errors = np.array([r[name]["error"] for r in recovered])
            low, middle, high = np.quantile(errors, (0, 0.5, 1), axis=0)
            axes.fill_between(step, low, high, color=color, alpha=0.15, lw=0)
            axes.plot(step, middle, color=color, label=name)
            columns |= {name: middle, f"{name}, least": low, f"{name}, largest": high}
        least = np.median([r["optimum error"] for r in recovered])
        axes.axhline(max(least, 1e-4), color=style.INK, lw=0.8, ls=":")
        axes.set(yscale="log", xlabel="thousand steps", ylabel="relative error")
        axes.legend()
        return at.figure(figure, "completion-enough", columns)
