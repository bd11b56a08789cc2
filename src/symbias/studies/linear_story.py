"""The story that sparse spectra and total variation share: five trainings of one linear model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symbias.dynamics import SGD
from symbias.report import style
from symbias.studies.claims import Claim, in_range
from symbias.studies.linear import (
    Data,
    best_strength,
    convex_optimum,
    flow_misses,
    path_of,
    relative,
    train,
)
from symbias.studies.story import Setup, over_seeds

COLORS = {
    "plain": style.DATA,
    "plain + l1": "#CC79A7",
    "designed": style.FIT,
    "weight decay": style.MARK,
    "label noise": style.SOFT,
}


@dataclass(frozen=True)
class Setting:
    """Data, published rules (on half the mean squared error), and what is claimed of them."""

    name: str
    draw: Callable[[int], Data]
    plain: SGD
    designed: SGD
    noisy: SGD
    shown: int
    full: int
    noisy_steps: int
    strengths: tuple[float, ...]
    subgradient: float
    error: float  # claimed of the median seed with weight decay
    published: dict[str, float]


@dataclass
class Outcome:
    """Errors at the end by kind of training and seed, distances to predictions, and curves."""

    errors: dict[str, np.ndarray]
    distances: dict[str, np.ndarray]
    curves: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]  # step, error, penalty
    strength: float
    grid: np.ndarray  # errors of the convex optimum (seeds, strengths)
    shapes: dict[str, np.ndarray]  # signals of seed 0
    variations: dict[str, np.ndarray]  # of the signals, but for their first level


def kinds(setting: Setting, strength: float) -> dict[str, tuple[SGD, bool, float]]:
    """Rule, whether the model is designed, and the strength of a subgradient."""
    rate = setting.designed.learning_rate
    found = {"plain": (setting.plain, False, 0.0)}
    if setting.subgradient:
        found["plain + l1"] = (setting.plain, False, setting.subgradient)
    return found | {
        "designed": (setting.designed, True, 0.0),
        "weight decay": (SGD(rate, weight_decay=strength), True, 0.0),
    }


def one_seed(
    setting: Setting, strength: float, steps: int, noisy: int, seed: int
) -> dict[str, Any]:
    """All trainings of one seed to the step that the paper shows."""
    data = setting.draw(seed)
    signals, distances = {}, {}
    for name, (rule, designed, subgradient) in kinds(setting, strength).items():
        run = train(
            data, rule, steps, designed=designed, subgradient=subgradient, key=seed, records=1
        )
        signals[name] = path_of(run, data)[-1]
        if name == "designed":
            distances["gradient flow"] = flow_misses(data, signals[name])
    distances["convex"] = relative(data, signals["weight decay"], convex_optimum(data, strength))
    run = train(data, setting.noisy, noisy, key=seed, records=200)
    signals["label noise"] = path_of(run, data)[100:].mean(axis=0)
    aim = noise_prediction(setting, data)
    distances["label noise"] = relative(data, signals["label noise"], aim)
    distances["from the flow"] = relative(data, signals["label noise"], signals["designed"])
    errors = {name: float(data.error(z)) for name, z in signals.items()}
    return {"errors": errors, "distances": distances, "signals": signals}


def noise_prediction(setting: Setting, data: Data) -> np.ndarray:
    """The optimum of the penalty of label noise: eta sigma^2 / (2 B) sum_j mean(x_j^2) |z_j|."""
    rule = setting.noisy
    strength = rule.learning_rate * rule.label_noise**2 / (2 * (rule.batch_size or len(data.x)))
    return convex_optimum(data, strength, np.mean(data.x**2, axis=0))


def explore(setting: Setting, at: Setup) -> Outcome:
    """Everything that is run."""
    steps = setting.shown
    noisy = setting.noisy_steps // (2 if at.quick else 1)
    data = [setting.draw(seed) for seed in range(at.seeds)]
    strengths = np.array(setting.strengths)
    errors = over_seeds(
        lambda seed: best_strength(data[seed : seed + 1], strengths)[1][0], at.seeds
    )
    grid = np.array(errors)
    strength = float(strengths[np.argmin(np.median(grid, axis=0))])
    at.say(f"convex optima at {len(strengths)} strengths: the best is {strength:g}")
    runs = over_seeds(lambda seed: one_seed(setting, strength, steps, noisy, seed), at.seeds)
    at.say(f"{steps} steps of {at.seeds} seeds")
    names = runs[0]["errors"]
    curves = full_runs(setting, strength, setting.shown if at.quick else setting.full, at)
    shapes = {name: data[0].synthesis @ z for name, z in runs[0]["signals"].items()}
    return Outcome(
        {name: np.array([run["errors"][name] for run in runs]) for name in names},
        {k: np.array([run["distances"][k] for run in runs]) for k in runs[0]["distances"]},
        curves,
        strength,
        grid,
        shapes,
        {k: np.array([np.abs(run["signals"][k][1:]).sum() for run in runs]) for k in names},
    )


def full_runs(setting: Setting, strength: float, steps: int, at: Setup) -> dict[str, Any]:
    """Error and penalty along the published runs of seed 0, at their full length."""
    data = setting.draw(0)
    chosen = kinds(setting, strength)

    def one(i: int) -> Any:
        name = list(chosen)[i]
        rule, designed, subgradient = chosen[name]
        path = at.folder / "runs" / name.replace(" ", "-")
        run = train(data, rule, steps, designed=designed, subgradient=subgradient, path=path)
        z = path_of(run, data)
        return run.trace.step.values, data.error(z), np.abs(z).sum(axis=1)

    found = dict(zip(chosen, over_seeds(one, len(chosen)), strict=True))
    at.say(f"{steps} steps of seed 0, {len(chosen)} ways")
    return found


def claims_of(setting: Setting, found: Outcome, noise: float) -> list[Claim]:
    """`noise` bounds the distance to the prediction for label noise."""
    errors, distances = found.errors, found.distances
    return [
        in_range(
            "designed, full batch: distance to what its Bregman potential predicts",
            distances["gradient flow"], 0, 1e-3, theory=True,
        ),
        in_range(
            "designed, full batch: error over that of the plain model",
            errors["designed"] / errors["plain"], 0, 1,
        ),
        in_range(
            f"weight decay {found.strength:g}: distance to the convex optimum",
            distances["convex"], 0, 0.05, theory=True,
        ),
        in_range(
            f"weight decay {found.strength:g}: error", errors["weight decay"], 0, setting.error
        ),
        in_range("convex optimum at that strength: error", best_column(setting, found),
                 0, setting.error),
        in_range(
            "label noise: distance to the optimum of its penalty", distances["label noise"],
            0, noise, theory=True,
        ),
        in_range("label noise: error over that without", errors["label noise"] / errors["designed"],
                 0, 1),
    ]  # fmt: skip


def best_column(setting: Setting, found: Outcome) -> np.ndarray:
    return found.grid[:, setting.strengths.index(found.strength)]


def findings_of(setting: Setting, found: Outcome) -> list[str]:
    """The published numbers beside the spread over seeds."""
    said = []
    for name, value in setting.published.items():
        errors = found.errors[name]
        below = int(np.sum(errors <= value))
        low, middle, high = np.quantile(errors, (0, 0.5, 1))
        said.append(
            f"{name}: published error {value:g} from one seed; here the median is {middle:.3g}, "
            f"from {low:.3g} to {high:.3g}, and {below} of {len(errors)} seeds are at most that."
        )
    decayed, convex = found.errors["weight decay"], best_column(setting, found)
    said.append(
        f"With weight decay {found.strength:g} on the factors the median error is "
        f"{np.median(decayed):.3g}, the convex solver's {np.median(convex):.3g}."
    )
    return said


def draw_curves(setting: Setting, found: Outcome, at: Setup) -> str:
    columns: dict[str, Any] = {}
    with style.axes(7.2, 2.9, columns=2) as (figure, (left, right)):
        for name, (step, error, penalty) in found.curves.items():
            color, share = COLORS[name], np.maximum(step, step[1] / 3)
            left.plot(share, error, color=color, label=name)
            right.plot(share, penalty, color=color)
            columns |= {"step": step, f"error, {name}": error, f"penalty, {name}": penalty}
        left.set(title="Error", xlabel="steps", xscale="log", yscale="log")
        right.set(title="Penalty |z|, l1", xlabel="steps", xscale="log")
        right.axhline(np.abs(setting.draw(0).truth).sum(), color=style.INK, lw=0.8, ls=":")
        left.legend()
        return at.figure(figure, f"{setting.name}-curves", columns)


def draw_seeds(setting: Setting, found: Outcome, at: Setup) -> str:
    """Errors of all seeds by kind of training; error of the convex optimum over strengths."""
    columns: dict[str, Any] = dict(found.errors)
    with style.axes(7.2, 2.9, columns=2) as (figure, (left, right)):
        rng = np.random.default_rng(0)
        for i, (name, errors) in enumerate(found.errors.items()):
            spread = i + 0.15 * rng.uniform(-1, 1, len(errors))
            left.plot(spread, errors, ".", color=COLORS[name], alpha=0.7)
            left.plot([i - 0.25, i + 0.25], 2 * [np.median(errors)], color=style.INK, lw=1.2)
            if name in setting.published:
                left.plot(i, setting.published[name], "D", color=style.INK, mfc="none", ms=5)
        names = [name.replace(" ", "\n") for name in found.errors]
        left.set(title="Error, all seeds", yscale="log")
        left.set_xticks(range(len(names)), names, fontsize=7)
        low, middle, high = np.quantile(found.grid, (0.25, 0.5, 0.75), axis=0)
        right.fill_between(setting.strengths, low, high, color=style.FIT, alpha=0.2, lw=0)
        right.plot(setting.strengths, middle, "o-", color=style.FIT, ms=3, label="convex optimum")
        end = float(np.median(found.errors["weight decay"]))
        right.plot(found.strength, end, "*", color=style.MARK, ms=10, label="trained")
        right.set(title="Error over strengths", xlabel="strength", xscale="log", yscale="log")
        right.legend()
        columns |= {
            f"convex, {s:g}": e for s, e in zip(setting.strengths, found.grid.T, strict=True)
        }
        return at.figure(figure, f"{setting.name}-seeds", columns)
