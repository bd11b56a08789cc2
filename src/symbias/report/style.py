"""One style for all figures: colour-blind safe, readable in print and on a page."""

import base64
import io
import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Okabe and Ito, "Color universal design"
INK, DATA, FIT, MARK, SOFT = "#1a1a1a", "#7f8c99", "#0072B2", "#D55E00", "#009E73"

_LONGEST = 40
_FONT = "DejaVu Sans"
_LACKING = "Glyph .* missing from"
_STYLE: Any = {
    "font.family": _FONT,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "symbias",
    "svg.fonttype": "path",
}


@contextmanager
def axes(width: float = 7.0, height: float = 3.0, columns: int = 1) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes in the house style; matplotlib's global state is left as it was."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(1, columns)


def plain(name: str) -> str:
    """A name of the user's as a label: not too long, and no formula."""
    return (name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…").replace("$", r"\$")


def svg(figure: Any) -> str:
    """The figure as a data URI that stands alone in a page.

    Letters are drawn as paths; where the font lacks some (Chinese, ...), all text is left to the
    fonts of the reader.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", _LACKING)
        try:
            return svg_uri(_saved(figure, "path"))
        except UserWarning:
            warnings.filterwarnings("ignore", _LACKING)
            text = _saved(figure, "none").replace(f"'{_FONT}'", f"'{_FONT}', Verdana, sans-serif")
    return svg_uri(_widened(text, _lacking(figure)))


def _saved(figure: Any, fonttype: str) -> str:
    import matplotlib as mpl

    stream = io.BytesIO()
    with mpl.rc_context(_STYLE | {"svg.fonttype": fonttype}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue().decode()


def _lacking(figure: Any) -> float:
    """How much wider a text may be than it was measured, in points: 0.4 em per wide letter."""
    from matplotlib.text import Text

    return max(
        0.4 * text.get_fontsize() * sum(map(_is_wide, text.get_text()))
        for text in figure.findobj(Text)
    )


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def _widened(text: str, extra: float) -> str:
    """The picture with so many points more on its left, where labels end at the axis."""
    found = re.search(r'width="([\d.]+)pt"( height="[\d.]+pt") viewBox="0 0 [\d.]+ ([\d.]+)"', text)
    assert found
    width = float(found[1]) + extra
    box = f'width="{width:g}pt"{found[2]} viewBox="{-extra:g} 0 {width:g} {found[3]}"'
    return text.replace(found[0], box, 1)


def svg_uri(text: str) -> str:
    """An SVG document as a data URI."""
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def save(figure: Any, stem: Path) -> None:
    """The figure as ``stem``.svg and ``stem``.png."""
    import matplotlib as mpl

    stem.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(stem.with_suffix(".png"), dpi=150)


def svg_text(uri: str) -> str:
    """The SVG document inside a data URI made by `svg`."""
    return base64.b64decode(uri.partition(",")[2]).decode()
