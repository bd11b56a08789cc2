"""The pictures of the glossary, computed while the site is built."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from mkdocs.structure.files import File, Files
from scipy.integrate import solve_ivp

import symbias as sb
from symbias.report.style import DATA, FIT, INK, MARK, SOFT, axes, svg, svg_text

P = sb.Hadamard(1)  # w = u v
SCALES = np.exp(np.linspace(-2.4, 2.4, 97))  # moves along an orbit


def orbit_of(w: float) -> np.ndarray:
    """Points (u, v) with u v = w, from the balanced one by the group, ``(scales, 2)``."""
    u, v = (float(a[0]) for a in P.section(np.array([w])).values())
    return np.column_stack([SCALES * u, v / SCALES])


def plane(panel: Any) -> None:
    panel.set(xlim=(0, 2.6), ylim=(0, 2.6), aspect="equal", xlabel="u", ylabel="v")


def orbits(panel: Any, sizes: tuple[float, ...] = (0.25, 1.0, 2.0)) -> None:
    for w in sizes:
        line = orbit_of(w)
        panel.plot(*line.T, color=FIT)
        panel.text(1.6, w / 1.6 + 0.06, f"u v = {w:g}", color=FIT)
    plane(panel)


def orbit(panel: Any) -> None:
    orbits(panel)
    here, there = orbit_of(1.0)[[36, 56]]
    panel.plot(*np.array([here, there]).T, "o", color=MARK)
    arrow = {"arrowstyle": "->", "connectionstyle": "arc3,rad=.35", "color": MARK}
    panel.annotate("", there, here, arrowprops=arrow)
    panel.set_title("(u, v) → (g u, v / g)", fontweight="normal", color=MARK)


def gauge(panel: Any) -> None:
    orbits(panel)
    w = np.array([0.25, 1.0, 2.0])
    panel.axline((1, 1), (2, 2), color=DATA, lw=0.8, ls="--")
    panel.axvline(1, color=DATA, lw=0.8, ls="--")
    panel.plot(w**0.5, w**0.5, "o", color=MARK)
    panel.plot(np.ones(3), w, "o", color=SOFT)
    panel.text(1.75, 1.55, "balanced", color=MARK)
    panel.text(1.1, 2.35, "u = 1", color=SOFT)


def balanced(panel: Any) -> None:
    for w, color in ((0.5, DATA), (1.0, FIT), (2.0, INK)):
        line = orbit_of(w)
        panel.plot(np.log(SCALES), (line**2).sum(1) / 2, color=color, label=f"u v = {w:g}")
        least = float(sb.induced_norm(P.symmetry, P.section(np.array([w]))))
        panel.plot(0, least, "o", color=MARK)
    panel.set(
        xlabel="log g, along the orbit", ylabel="(u² + v²) / 2", xlim=(-1.4, 1.4), ylim=(0, 6)
    )
    panel.legend()


def charge(panel: Any) -> None:
    panel.plot(*orbit_of(1.0).T, color=FIT)
    for start in ((2.2, 0.1), (1.3, 0.1), (0.3, 0.1), (0.1, 1.3), (0.1, 2.2), (2.3, 1.9)):
        flow = solve_ivp(lambda _, x: (1 - x[0] * x[1]) * x[::-1], (0, 40), start, rtol=1e-8)
        panel.plot(*flow.y, color=MARK)
        panel.plot(*start, ".", color=INK)
        panel.plot(*flow.y[:, -1], "o", color=FIT, ms=4)
        c = start[0] ** 2 - start[1] ** 2
        t = np.linspace(0, 2.6, 200)
        v = np.sqrt(np.where(t**2 > c, t**2 - c, np.nan))
        panel.plot(t, v, color=DATA, lw=0.7, ls=":")
    plane(panel)


def gram(panel: Any) -> None:
    points = orbit_of(1.0)[33:66:8]
    panel.plot(*orbit_of(1.0).T, color=FIT)
    for u, v in points:
        theta = {"u1": np.array([u]), "u2": np.array([v])}
        length = float(np.sqrt(sb.gram(P.symmetry, theta)[0, 0]))
        arrow = {"arrowstyle": "->", "color": MARK, "shrinkA": 0, "shrinkB": 0}
        panel.annotate("", (u + 0.25 * u, v - 0.25 * v), (u, v), arrowprops=arrow)
        panel.annotate(
            f"{length:.1f}", (u, v), xytext=(4, 5), textcoords="offset points", color=MARK
        )
    plane(panel)


def bond(panel: Any) -> None:
    from matplotlib.patches import Rectangle

    for corner, width, height, name in (((0, 0), 1.2, 3, "P"), ((2.2, 1.8), 3, 1.2, "Q")):
        panel.add_patch(Rectangle(corner, width, height, facecolor="#dbe9f3", edgecolor=FIT))
        panel.text(
            corner[0] + width / 2, corner[1] + height / 2, name, ha="center", va="center", size=14
        )
    panel.annotate(
        "", (2.2, 2.4), (1.2, 2.4), arrowprops={"arrowstyle": "<->", "color": MARK, "lw": 2}
    )
    panel.text(1.7, 2.65, "r", color=MARK, ha="center", size=12)
    panel.text(2.2, 0.7, "P → P g⁻¹,  Q → g Q:\nP Q stays", color=INK)
    panel.set(xlim=(-0.2, 5.4), ylim=(-0.2, 3.3), aspect="equal")
    panel.axis("off")


def penalty(panel: Any) -> None:
    w = np.linspace(-2, 2, 201)
    for depth, color in ((2, FIT), (3, MARK), (4, SOFT)):
        p = sb.Hadamard(1, depth=depth)
        cost = [float(sb.WeightDecay(1.0).penalty(p, np.array([x]))) for x in w]
        panel.plot(w, cost, color=color, label=f"{depth} factors")
    panel.set(xlabel="w", ylabel="least decay of its factors", ylim=0)
    panel.legend()


def potential(panel: Any) -> None:
    w = np.linspace(-2, 2, 101)
    for scale, color in ((0.01, FIT), (0.5, SOFT), (3.0, MARK)):
        psi = sb.GradientFlow(scale).induced(P)
        cost = np.array([float(psi(np.array([x]))) for x in w])
        panel.plot(w, cost / cost[-1], color=color, label=f"from a start of {scale:g}")
    panel.set(xlabel="w", ylabel="potential, 1 at w = 2", ylim=0)
    panel.legend()


def law(panel: Any) -> None:
    p, w = sb.Radial((), 3, sb.PowerLink(2.0)), np.linspace(0, 3, 301)
    for temperature, color in ((0.05, FIT), (0.3, SOFT), (1.0, MARK)):
        density = sb.Langevin(temperature, orbital=1.0).law(p, lambda w: (w - 1) ** 2)
        panel.plot(w[1:], np.diff(density.cdf(w)) / 0.01, color=color, label=f"T = {temperature:g}")
    panel.set(xlabel="w; the loss is least at 1", ylabel="density", ylim=0)
    panel.legend()


PICTURES: dict[str, Callable[[Any], None]] = {
    f.__name__: f for f in (bond, orbit, gauge, balanced, charge, gram, penalty, potential, law)
}


@cache
def picture(name: str) -> str:
    """One of the pictures, as an SVG document."""
    with axes(3.4, 2.6) as (figure, panel):
        PICTURES[name](panel)
        return svg_text(svg(figure))


def on_files(files: Files, config: Any) -> Files:
    for name in PICTURES:
        files.append(File.generated(config, f"glossary/{name}.svg", content=picture(name)))
    return files
