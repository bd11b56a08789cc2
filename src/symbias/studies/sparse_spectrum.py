"""Sparse spectra: which sparse signal does a product of factors find, and why?

Signals of 64 cosines cos(2 pi k t), three of them active with k >= 1 and a magnitude in [1, 2]; 32
samples at uniform times with noise 0.1. The plain model trains the amplitudes from 1e-4, with or
without a subgradient of 0.1 |z|_1; the designed one products of two factors of standard deviation
0.01. Full batch, learning rate 1e-3 on the mean squared error (here 2e-3 on half of it).

A full batch has no noise: what shows is gradient flow, whose mirror potential says which of all
signals with the same predictions is reached, at every time. Weight decay on the factors is an l1
penalty exactly, and ends at the convex optimum. Label noise, the gradient noise proper, adds an l1
penalty of its own, eta sigma^2/(2B) sum_j mean(x_j^2) |z_j|.
"""

import numpy as np

from symbias.dynamics import SGD
from symbias.studies.linear import Data
from symbias.studies.linear_story import (
    Setting,
    claims_of,
    draw_curves,
    draw_seeds,
    explore,
    findings_of,
)
from symbias.studies.story import Setup, Story

SIZE, SAMPLES, ACTIVE, NOISE = 64, 32, 3, 0.1
GRID = np.linspace(0, 1, 1000, endpoint=False)


def cosines(t: np.ndarray) -> np.ndarray:
    return np.cos(2 * np.pi * np.outer(t, np.arange(SIZE)))


def draw(seed: int) -> Data:
    """The error is that of the signal without noise, on a fine grid."""
    rng = np.random.default_rng(seed)
    t, z = rng.uniform(size=SAMPLES), np.zeros(SIZE)
    active = 1 + rng.choice(SIZE - 1, ACTIVE, replace=False)
    z[active] = rng.uniform(1, 2, ACTIVE) * rng.choice([-1, 1], ACTIVE)
    x = cosines(t)
    y = x @ z + NOISE * rng.normal(size=SAMPLES)
    factors = {name: 1e-2 * rng.normal(size=SIZE) for name in ("u1", "u2")}
    return Data(x, y, z, cosines(GRID), np.eye(SIZE), 1e-4 * rng.normal(size=SIZE), factors)


SETTING = Setting(
    name="spectrum",
    draw=draw,
    plain=SGD(2e-3),
    designed=SGD(2e-3),
    noisy=SGD(0.02, batch_size=8, label_noise=3.0),
    shown=50_000,
    full=150_000,
    noisy_steps=100_000,
    strengths=(0.005, 0.008, 0.0125, 0.02, 0.03),
    subgradient=0.05,
    error=0.01,
    published={"plain": 2.525, "plain + l1": 0.0533, "designed": 0.0229},
)


def study(at: Setup) -> Story:
    """Sparse spectra: gradient flow, weight decay and label noise, each with its prediction."""
    found = explore(SETTING, at)
    story = Story("Sparse spectra", (__doc__ or "").partition("\n\n")[2])
    story.claims = claims_of(SETTING, found, noise=0.05)
    story.findings = findings_of(SETTING, found)
    story.figures = [
        (draw_curves(SETTING, found, at), "Error and penalty along the run, seed 0; the dotted "
         "line is the penalty of the truth."),
        (draw_seeds(SETTING, found, at), "Left: error of every seed; diamonds are the published "
         "values, lines medians. Right: error of the convex optimum over strengths, median and "
         "quartiles, and of training at the best one."),
    ]  # fmt: skip
    return story
