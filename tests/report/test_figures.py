"""Figures of a fit: what they leave out, where legends stand, letters of all alphabets."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from symbias.report import figures
from symbias.report.style import svg_text


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    kept: list[Figure] = []
    monkeypatch.setattr(figures, "svg", lambda figure: kept.append(figure) or "")
    return kept


@pytest.mark.parametrize(
    ("coefficients", "bars", "title"),
    [
        ([3, 0, -1, 0, 0], 5, "Coefficients"),
        ([3, 0, -1, 0, 0, 0], 2, "Coefficients (left out: 4 zero)"),
        ([0.0] * 9, 1, "Coefficients (left out: 8 zero)"),
        ([0.0] * 2, 2, "Coefficients"),
        (range(1, 41), 30, "Coefficients (left out: 10 smaller)"),
        ([*range(1, 41), *[0] * 7], 30, "Coefficients (left out: 10 smaller, 7 zero)"),
        ([*range(1, 30), 0, 0, 0], 30, "Coefficients (left out: 2 zero)"),
    ],
)
def test_zero_coefficients_are_counted(drawn, coefficients, bars: int, title: str) -> None:
    values = np.array(coefficients, dtype=float)
    figures.coefficients_figure([f"f{j}" for j in range(len(values))], values)
    (ax,) = drawn[0].axes
    assert ax.get_title(loc="left") == title
    widths = [bar.get_width() for bar in ax.patches]
    assert len(widths) == bars
    assert np.all(np.diff(np.abs(widths)) >= 0)  # the strongest on top
    assert np.abs(widths[-1]) == np.abs(values).max()


@pytest.mark.parametrize("kind", ["series", "validation"])
def test_legends_cover_nothing(drawn, kind: str) -> None:
    times = np.arange(50.0)
    values = np.random.default_rng(0).normal(size=50)
    if kind == "series":
        breaks = np.array([[k, k + 1.0] for k in range(0, 48, 3)])
        figures.series_figure(times, values, times, values, breaks, values, ("t", "x"), True)
    else:
        figures.validation_figure(times + 1, values[:, None] * [1, 2], 3.0, "a rule", "error")
    figure = drawn[0]
    figure.draw_without_rendering()  # with its layout
    assert all(ax.get_legend() is None for ax in figure.axes)
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert not any(box.overlaps(ax.get_window_extent()) for ax in figure.axes)
    assert not any(box.overlaps(ax.title.get_window_extent()) for ax in figure.axes)
    assert box.x0 >= 0
    assert box.y1 <= figure.bbox.y1
    if kind == "series":
        texts = [text.get_text() for text in legend.get_texts()]
        assert texts == ["observed", "fit", "refit, no shrinkage", "change"]


@pytest.mark.filterwarnings("error")
def test_letters_that_the_font_lacks_are_left_to_the_reader() -> None:
    values = np.array([2.0, -1.0])
    plain = svg_text(figures.coefficients_figure(["größe", "возраст"], values))
    assert "<text" not in plain
    other = svg_text(figures.coefficients_figure(["都市_東京", "都市_大阪"], values))
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", other)
    assert {"都市_東京", "都市_大阪", "Coefficients"} <= set(texts)
    assert "'DejaVu Sans', Verdana, sans-serif" in other
    widths = [float(re.search(r'width="([\d.]+)pt"', text)[1]) for text in (plain, other)]
    left = float(re.search(r'viewBox="(-[\d.]+) 0 ', other)[1])
    assert left == pytest.approx(-4 * 0.4 * 9)  # four wide letters of 9 points
    assert widths[1] == pytest.approx(widths[0] - left, rel=1e-6)


@pytest.mark.filterwarnings("error")
def test_names_are_neither_formulas_nor_too_long(drawn) -> None:
    names = ["x" * 150 + "1", "x" * 150 + "2", r"$\no$", "price ($)"]
    figures.coefficients_figure(names, np.array([1.0, 2.0, 3.0, 4.0]))
    times = np.arange(5.0)
    labels = (r"$\no$", "y" * 300)
    figures.series_figure(times, times, times, times, np.zeros((0, 2)), None, labels, True)
    figures.spectrum_figure(times[1:], times[1:], r"$\no$")
    for figure in drawn:
        figure.draw_without_rendering()  # with its layout
    axis = drawn[0].axes[0]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == [
        *("x" * 39 + "…", "x" * 39 + "…", r"\$\no\$", r"price (\$)")
    ]
    assert len(axis.patches) == 4
    assert len({bar.get_y() for bar in axis.patches}) == 4
