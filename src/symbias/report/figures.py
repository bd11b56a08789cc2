"""Figures of a fit. Each takes plain arrays and returns the figure as a data URI."""

from typing import Any

import numpy as np

from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, svg


def series_figure(
    times: np.ndarray,
    fitted: np.ndarray,
    observed_times: np.ndarray,
    observed: np.ndarray,
    breaks: np.ndarray,
    refit: np.ndarray | None,
    labels: tuple[str, str],
    steps: bool,
) -> str:
    """Data, fit, and the places where it changes."""
    with axes(7.2, 3.2) as (figure, ax):
        ax.plot(observed_times, observed, "o", ms=3, color=DATA, label="observed")
        style: Any = {"drawstyle": "steps-mid"} if steps else {}
        ax.plot(times, fitted, color=FIT, lw=2, label="fit", **style)
        if refit is not None:
            ax.plot(times, refit, color=SOFT, lw=1.2, ls="-.", label="refit, no shrinkage", **style)
        for k, (before, after) in enumerate(breaks):
            name = "change" if k == 0 else None
            ax.axvline((before + after) / 2, color=MARK, ls="--", lw=1.2, label=name)
        ax.set(xlabel=labels[0], ylabel=labels[1], title="Data and fit")
        ax.legend(ncols=4, loc="best")
        return svg(figure)


def spectrum_figure(periods: np.ndarray, coefficients: np.ndarray, unit: str) -> str:
    """Cosine coefficients over their periods, the strongest one named."""
    with axes(7.2, 2.8) as (figure, ax):
        size = np.abs(coefficients)
        ax.vlines(periods, 0, size, color=FIT, lw=1.4)
        ax.set_xscale("log")
        best = int(np.argmax(size))
        ax.plot(periods[best], size[best], "o", color=MARK)
        ax.annotate(
            f"{periods[best]:.3g} {unit}",
            (periods[best], size[best]),
            xytext=(8, -2),
            textcoords="offset points",
            color=MARK,
        )
        ax.set(xlabel=f"period ({unit})", ylabel="|coefficient|", title="Spectrum of the fit")
        return svg(figure)


def coefficients_figure(names: list[str], coefficients: np.ndarray) -> str:
    """One bar per coefficient, the strongest on top; at most 30 of them."""
    order = np.argsort(-np.abs(coefficients))[:30][::-1]
    with axes(7.2, 1.2 + 0.22 * len(order)) as (figure, ax):
        colors = [FIT if c >= 0 else MARK for c in coefficients[order]]
        ax.barh([names[i] for i in order], coefficients[order], color=colors)
        ax.axvline(0, color=INK, lw=0.8)
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="coefficient, per standard deviation", title="Coefficients")
        return svg(figure)


def validation_figure(strengths: np.ndarray, errors: np.ndarray, chosen: float, rule: str) -> str:
    """Mean error with its standard error over the strengths, and the one that was chosen."""
    with axes(7.2, 2.8) as (figure, ax):
        mean = errors.mean(axis=1)
        spread = errors.std(axis=1, ddof=1) / np.sqrt(errors.shape[1])
        ax.fill_between(strengths, mean - spread, mean + spread, color=SOFT, alpha=0.25, lw=0)
        ax.plot(strengths, mean, color=SOFT, label="mean ± standard error")
        ax.axhline(mean.min() + spread[mean.argmin()], color=DATA, lw=1, ls=":")
        ax.axvline(chosen, color=MARK, ls="--", lw=1.2, label=f"chosen: {rule}")
        ax.set_xscale("log")
        ax.set(xlabel="strength", ylabel="squared error", title="Cross-validation")
        ax.legend()
        return svg(figure)
