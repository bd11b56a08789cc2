"""The table and the figure of the pruning example."""

from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS

METHODS = ("design", "sgd", "adam", "proximal", "adamw", "magnitude", "dense")
HEAD = (
    "network      method     knob    parameters      accuracy, %   "
    "untuned  forward, ms  training, s"
)
X_TICKS = [k * 10**n for n in (2, 3, 4) for k in (1, 2, 5)]
Y_TICKS = [k * 10**n for n in (-1, 0, 1) for k in (1, 2, 5)]


def settings(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The runs of each network, method and knob, over seeds."""
    keys = dict.fromkeys((r["network"], r["method"], r["knob"]) for r in rows)
    order = sorted(keys, key=lambda k: (list(NETWORKS).index(k[0]), METHODS.index(k[1])))
    return [[r for r in rows if (r["network"], r["method"], r["knob"]) == k] for k in order]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """One line for each setting: means over seeds, and the standard deviations."""
    lines = [HEAD]
    for own in settings(rows):
        s, a, b, f, t = (
            np.array([r[k] for r in own])
            for k in ("size", "accuracy", "untuned", "forward_ms", "training_s")
        )
        first = own[0]
        lines.append(
            f"{first['network']:<12} {first['method']:<10} {first['knob']:<7g} "
            f"{s.mean():6.0f} ± {s.std():<5.0f}  {100 * a.mean():5.1f} ± {100 * a.std():3.1f}   "
            f"{100 * b.mean():7.1f}  {f.mean():11.2f}  {t.mean():11.1f}"
        )
    return lines


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Test error against size: every run a dot, and a line through the means."""
    from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, svg, svg_text

    colours = (FIT, "#CC79A7", "#E69F00", MARK, SOFT, DATA, INK)
    looks = dict(zip(METHODS, zip(colours, "oPXsv^D", strict=True), strict=True))
    with axes(8.0, 3.4, columns=2) as (figure, panels):
        for panel, network in zip(panels, NETWORKS, strict=True):
            for method in METHODS:
                groups = [g for g in settings(rows) if g[0]["method"] == method]
                groups = [g for g in groups if g[0]["network"] == network]
                points = [[[r["size"], 100 - 100 * r["accuracy"]] for r in g] for g in groups]
                if not points:
                    continue
                look = dict(zip(("color", "marker"), looks[method], strict=True))
                panel.scatter(*np.concatenate(points).T, s=9, alpha=0.35, linewidths=0, **look)
                panel.plot(*np.mean(points, 1).T, ms=4, label=method, **look)
            panel.set(xscale="log", yscale="log", xlabel="parameters", title=network)
            for axis, ticks in ((panel.xaxis, X_TICKS), (panel.yaxis, Y_TICKS)):
                low, high = axis.get_view_interval()
                axis.set_ticks([t for t in ticks if low <= t <= high])
                axis.set_ticks([], minor=True)
                axis.set_major_formatter("{x:,.10g}")
        panels[0].set_ylabel("test error, %")
        panels[0].legend()
        path.write_text(svg_text(svg(figure)))
