"""One style for all figures: colour-blind safe, readable in print and on a page."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Okabe and Ito, "Color universal design"
INK, DATA, FIT, MARK, SOFT = "#1a1a1a", "#7f8c99", "#0072B2", "#D55E00", "#009E73"

_STYLE: Any = {
    "font.family": "DejaVu Sans",
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


def svg(figure: Any) -> str:
    """The figure as a data URI that stands alone in a page."""
    import matplotlib as mpl

    stream = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return svg_uri(stream.getvalue().decode())


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
