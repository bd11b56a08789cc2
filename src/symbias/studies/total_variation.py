"""Total variation: a piecewise constant signal from few measurements.

Length 200, levels 1.0, -1.5, 0.5, 2.0 over 50, 70, 40, 40 entries; 60 Gaussian measurements over
sqrt(60), noise 0.1. The plain model trains the signal from 1e-4, learning rate 1e-2; the designed
one is the cumulative sum of products of two factors of standard deviation 0.3, learning rate 1e-3,
both full batch on the mean squared error (here twice these rates on half of it).

From a start as large as 0.3 the mirror potential of gradient flow is close to the sum of squares,
so the differences found are not sparse: total variation 23 where the truth has 6. With weight
decay on the same factors the penalty is the l1 norm of the differences (the first level with
them), and training ends at the convex optimum. Label noise has a penalty of the same kind.
"""

import numpy as np

from symbias.dynamics import SGD
from symbias.report import style
from symbias.studies.claims import in_range
from symbias.studies.linear import Data
from symbias.studies.linear_story import (
    COLORS,
    Outcome,
    Setting,
    claims_of,
    draw_curves,
    draw_seeds,
    explore,
    findings_of,
)
from symbias.studies.story import Setup, Story

SIZE, SAMPLES, NOISE = 200, 60, 0.1
SIGNAL = np.repeat([1.0, -1.5, 0.5, 2.0], [50, 70, 40, 40])
SUMS = np.tril(np.ones((SIZE, SIZE)))


def draw(seed: int) -> Data:
    """The columns of the measurements are summed once: x @ cumsum(z) = (x @ SUMS) @ z."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SAMPLES, SIZE)) / SAMPLES**0.5
    y = x @ SIGNAL + NOISE * rng.normal(size=SAMPLES)
    factors = {name: 0.3 * rng.normal(size=SIZE) for name in ("u1", "u2")}
    plain = 1e-4 * rng.normal(size=SIZE)
    return Data(x @ SUMS, y, np.diff(SIGNAL, prepend=0), SUMS, np.linalg.inv(SUMS), plain, factors)


SETTING = Setting(
    name="total-variation",
    draw=draw,
    plain=SGD(2e-2),
    designed=SGD(2e-3),
    noisy=SGD(5e-3, batch_size=10, label_noise=3.0),
    shown=500_000,
    full=1_500_000,
    noisy_steps=200_000,
    strengths=(0.0015, 0.003, 0.0055, 0.011, 0.022),
    subgradient=0.0,
    error=0.002,
    published={"plain": 1.389, "designed": 0.0801},
)


def study(at: Setup) -> Story:
    """Total variation: the published start is too large; weight decay and noise repair it."""
    found = explore(SETTING, at)
    story = Story("Total variation", (__doc__ or "").partition("\n\n")[2])
    story.claims = claims_of(SETTING, found, noise=0.1)
    story.claims.append(
        in_range(
            "weight decay: total variation of the signal (true: 6)",
            found.variations["weight decay"], 4.5, 6.5,
        )
    )  # fmt: skip
    variation = found.variations["designed"]
    story.findings = findings_of(SETTING, found)
    story.findings.append(
        f"Total variation of the designed model: published 23.4, here {variation.min():.1f} to "
        f"{variation.max():.1f}."
    )
    story.figures = [
        (draw_curves(SETTING, found, at), "Error and penalty along the run, seed 0; the dotted "
         "line is the penalty of the truth."),
        (draw_seeds(SETTING, found, at), "Left: error of every seed; diamonds are the published "
         "values, lines medians. Right: error of the convex optimum over strengths, median and "
         "quartiles, and of training at the best one."),
        (_draw_signals(found, at), "Signals of seed 0; the truth is dotted."),
    ]  # fmt: skip
    return story


def _draw_signals(found: Outcome, at: Setup) -> str:
    names = ("designed", "label noise", "weight decay")
    with style.axes(7.2, 2.2, columns=3) as (figure, grid):
        for axes, name in zip(grid, names, strict=True):
            axes.plot(found.shapes[name], color=COLORS[name], lw=1.1)
            axes.plot(SIGNAL, color=style.INK, lw=0.8, ls=":")
            axes.set(title=name, xlabel="position", ylim=(-2.2, 2.6))
        columns = {"truth": SIGNAL} | found.shapes
        return at.figure(figure, "total-variation-signals", columns)
