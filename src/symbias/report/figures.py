"""Figures of a fit. Each takes plain arrays and returns the figure as a data URI."""

from typing import Any

import numpy as np

from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, plain, svg

_POINTS, _BINS, _LINES = 4_000, 1_000, 60
_BARS, _ZEROS = 30, 3


def series_figure(
    times: np.ndarray,
    fitted: np.ndarray,
    observed_times: np.ndarray,
    observed: np.ndarray,
    breaks: np.ndarray,
    refit: np.ndarray | None,
    labels: tuple[str, str],
    steps: bool,
    ranges: np.ndarray | None = None,
) -> str:
    """Data, fit, and the places where it changes; ``ranges`` are intervals of those (k, 2)."""
    with axes(6.0, 3.2) as (figure, ax):
        if len(observed) <= _POINTS:
            ax.plot(observed_times, observed, "o", ms=3, color=DATA, label="observed")
        else:
            range_of = _envelope(observed_times, observed)
            ax.fill_between(*range_of, color=DATA, alpha=0.5, lw=0, label="observed, range")
        style: Any = {"drawstyle": "steps-mid"} if steps else {}
        ax.plot(*thinned(times, fitted), color=FIT, lw=2, label="fit", **style)
        if refit is not None:
            line = thinned(times, refit)
            ax.plot(*line, color=SOFT, lw=1.2, ls="-.", label="refit, no shrinkage", **style)
        middles = breaks[:, 0] + (breaks[:, 1] - breaks[:, 0]) / 2
        for k, (first, last) in enumerate([] if ranges is None else ranges):
            band: Any = {"label": "95% interval"} if k == 0 else {}
            ax.axvspan(first, last, color=MARK, alpha=0.13, lw=0, **band)
        if len(middles) <= _LINES:
            for k, middle in enumerate(middles):
                name = "change" if k == 0 else None
                ax.axvline(middle, color=MARK, ls="--", lw=1.2, label=name)
        else:  # ticks along the bottom
            some = middles[:: 1 + len(middles) // _BINS]
            ends = ax.get_xaxis_transform()
            ax.vlines(some, 0, 0.03, color=MARK, lw=0.6, transform=ends, label="changes")
        if times.dtype.kind == "M":
            _concise(ax)
        ax.set(xlabel=plain(labels[0]), ylabel=plain(labels[1]), title="Data and fit")
        figure.legend(ncols=3, loc="outside upper right")  # over nothing
        return svg(figure)


def _concise(ax: Any) -> None:
    """Dates on the axis without what all of them share, which stands at its end."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line through fewer points that looks the same: of each of 1,000 stretches the first, the
    lowest, the highest and the last (Jugel et al., "M4", VLDB 2014)."""
    if len(x) <= _POINTS:
        return x, y
    starts = np.arange(_BINS) * len(x) // _BINS
    parts = zip(starts, [*starts[1:], len(x)], strict=True)
    kept = [[a, a + int(np.argmin(y[a:b])), a + int(np.argmax(y[a:b])), b - 1] for a, b in parts]
    index = np.unique(kept)
    return x[index], y[index]


def _envelope(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first stamp, lowest and highest value of 1,000 stretches."""
    starts = np.arange(_BINS) * len(x) // _BINS
    return x[starts], np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)


def spectrum_figure(periods: np.ndarray, coefficients: np.ndarray, unit: str) -> str:
    """Cosine coefficients over their periods, the strongest one named."""
    with axes(6.0, 2.6) as (figure, ax):
        size = np.abs(coefficients)
        tall = np.argsort(-size)[:_BINS]
        ax.vlines(periods[tall], 0, size[tall], color=FIT, lw=1.4)
        ax.set_xscale("log")
        best = int(np.argmax(size))
        ax.plot(periods[best], size[best], "o", color=MARK)
        ax.annotate(
            f"{periods[best]:.3g} {plain(unit)}",
            (periods[best], size[best]),
            xytext=(8, -2),
            textcoords="offset points",
            color=MARK,
        )
        ax.set(
            xlabel=f"period ({plain(unit)})", ylabel="|coefficient|", title="Spectrum of the fit"
        )
        return svg(figure)


def coefficients_figure(names: list[str], coefficients: np.ndarray) -> str:
    """One bar per coefficient, the strongest on top: at most 30, and few that are zero."""
    order = np.argsort(-np.abs(coefficients), kind="stable")
    used = int(np.count_nonzero(coefficients))
    shown = min(_BARS, len(order) if len(order) - used <= _ZEROS else max(used, 1))
    left = [(max(used - shown, 0), "smaller"), (len(order) - max(used, shown), "zero")]
    notes = ", ".join(f"{count} {kind}" for count, kind in left if count)
    title = "Coefficients" + (f" (left out: {notes})" if notes else "")
    order = order[:shown][::-1]
    with axes(6.0, 1.2 + 0.22 * len(order)) as (figure, ax):
        colors = [FIT if c >= 0 else MARK for c in coefficients[order]]
        ax.barh(range(shown), coefficients[order], color=colors)
        ax.set_yticks(range(shown), [plain(names[i]) for i in order])
        ax.axvline(0, color=INK, lw=0.8)
        ax.grid(axis="y", visible=False)
        ax.set(xlabel="coefficient, per standard deviation", title=title)
        return svg(figure)


def validation_figure(
    strengths: np.ndarray, errors: np.ndarray, chosen: float, rule: str, score: str
) -> str:
    """Mean error with its standard error over the strengths, and the one that was chosen."""
    with axes(6.0, 2.6) as (figure, ax):
        mean = errors.mean(axis=1)
        spread = errors.std(axis=1, ddof=1) / np.sqrt(errors.shape[1])
        ax.fill_between(strengths, mean - spread, mean + spread, color=SOFT, alpha=0.25, lw=0)
        ax.plot(strengths, mean, color=SOFT, label="mean ± standard error")
        ax.axhline(mean.min() + spread[mean.argmin()], color=DATA, lw=1, ls=":")
        ax.axvline(chosen, color=MARK, ls="--", lw=1.2, label=f"chosen: {rule}")
        ax.set_xscale("log")
        ax.set(xlabel="strength", ylabel=score, title="Cross-validation")
        figure.legend(ncols=2, loc="outside upper right")
        return svg(figure)
