"""The page of the evidence study."""

from collections.abc import Mapping
from typing import Any

from symbias._version import __version__
from symbias.report.page import Section, render
from symbias.report.style import svg_uri

Rows = list[dict[str, Any]]

_INTRO = (
    "Predictions of this library against its own simulations, which share no formula with them: "
    "the change of charges in one step, the gauge in which training settles, stationary laws, and "
    "how often the tests themselves reject what is true."
)
_IDENTITY = (
    "One step of SGD changes the charges of a bond by ((1 - eta lam)^2 - 1) Q + eta^2 Q(G). "
    "Largest error over five steps, relative to the squared norm of the bond: rounding alone."
)
_EQUILIBRIA = (
    "Where noise and weight decay hold each other, after the gauge has relaxed. The prediction "
    "must hold to 5%; the balanced point, for comparison, is what is often said."
)
_LAWS = (
    "Samples of Langevin training against the law of w, p-values corrected for being several. The "
    "same process read against another measure is a wrong law, and must be rejected: its p-values "
    "stand beside it."
)
_CALIBRATION = "How often each test rejects a law that is true, at the level of 5%."


def page(result: dict[str, Any], figures: Mapping[str, str]) -> str:
    """HTML of the whole, from the study's result and its figures as SVG."""
    uris = {name: svg_uri(text) for name, text in figures.items()}
    verdicts = [row["verdict"] for row in (*result["equilibria"], *result["laws"])]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("consistent", "rejected", "undecided"))
    sections = [
        Section("Verdicts", answer=f"{len(verdicts)} predictions: {counts}."),
        Section("One step", _IDENTITY, tables=[("", _identity(result["identity"]))]),
        Section(
            "Equilibria",
            _EQUILIBRIA,
            figures=[("Measured over predicted, less one", uris["equilibria"])],
            tables=[("", _equilibria(result["equilibria"]))],
        ),
        Section(
            "Laws",
            _LAWS,
            figures=[("Samples of one number and their laws", uris["laws"])],
            tables=[("", _laws(result["laws"]))],
        ),
        Section(
            "The tests themselves",
            _CALIBRATION,
            figures=[("p-values of true laws, sorted", uris["calibration"])],
            tables=[("", _calibration(result["calibration"]))],
        ),
    ]
    footer = (
        f"symbias {__version__}. Figures as SVG and PNG, and evidence.json, lie beside this page."
    )
    return render("Evidence", _INTRO, sections, footer)


def _identity(rows: Rows) -> list[list[str]]:
    head = ["network", "bond", "relative error"]
    return [head, *([r["network"], r["bond"], f"{r['error']:.1e}"] for r in rows)]


def _equilibria(rows: Rows) -> list[list[str]]:
    head = ["setting", "observable", "predicted", "measured (99% interval)", "verdict", "balanced"]
    cells = []
    for r in rows:
        low, high = r["interval"]
        naive = "" if r["balanced"] is None else f"{r['balanced']:.4g}"
        measured = f"{r['measured']:.4g} ({low:.4g} to {high:.4g})"
        predicted = f"{r['predicted']:.4g}"
        cells.append([r["setting"], r["observable"], predicted, measured, r["verdict"], naive])
    return [head, *cells]


def _laws(rows: Rows) -> list[list[str]]:
    head = ["law", "test", "p-value", "verdict", "p-values of wrong laws"]
    cells = []
    for r in rows:
        wrong = ", ".join(f"{name}: {p:.1e}" for name, p in r["wrong"].items())
        cells.append([r["law"], r["test"], f"{r['p_value']:.2g}", r["verdict"], wrong])
    return [head, *cells]


def _calibration(rows: Rows) -> list[list[str]]:
    return [
        ["test", "rejected at 5%"],
        *([r["test"], f"{r['rejected_at_5_percent']:.1%}"] for r in rows),
    ]
