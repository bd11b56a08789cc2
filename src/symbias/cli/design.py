"""`symbias design`: from a penalty and a way of training to a parameterization and its card."""

import json
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from symbias._version import __version__
from symbias.cli.command import Folder, Json, Quiet, app, command
from symbias.cli.errors import InputError

MECHANISMS = {
    "weight-decay": "sb.WeightDecay({strength!r})",
    "label-noise": "sb.LabelNoise(sigma={strength!r}, learning_rate=0.05)",
    "gradient-flow": "sb.GradientFlow({strength!r})",
    "langevin": "sb.Langevin({strength!r}, reference='ambient')",
}


@app.command()
@command
def design(
    penalty: Annotated[str, typer.Option(help="l1, lq, elastic, logsum, group, tv, nuclear, ...")],
    mechanism: Annotated[
        str, typer.Option(help="weight-decay, label-noise, gradient-flow or langevin.")
    ] = "weight-decay",
    strength: Annotated[
        float,
        typer.Option(
            help="Weight decay; or the label noise's std, the start's scale, the temperature."
        ),
    ] = 0.01,
    shape: Annotated[str, typer.Option(help='Of the parameter: "100", or "20x5".')] = "20",
    folder: Folder = "symbias-design",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Design a parameterization with a wished bias; print its card, write a page and snippets."""
    from symbias.cli.write import writable, write_all

    sizes = _parse_shape(shape)
    if mechanism not in MECHANISMS:
        raise InputError(
            f"--mechanism must be one of {', '.join(MECHANISMS)}, got {mechanism!r}. Adam and "
            "AdamW minimise another objective"
        )
    if not 0 < strength < float("inf"):
        raise InputError(f"--strength must be a positive number, got {strength}")
    out = writable(folder)
    import symbias as sb
    from symbias.penalties import PENALTIES
    from symbias.report.cards import card
    from symbias.report.snippets import Wish, snippets

    if penalty not in PENALTIES:
        raise InputError(f"--penalty must be one of {', '.join(PENALTIES)}, got {penalty!r}")
    trained = _mechanism(mechanism, strength)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            p = sb.design(penalty, trained, shape=sizes)
    except (ValueError, IndexError) as error:
        raise InputError(f"refused: {error}") from None
    found = card(p)
    kind = PENALTIES[penalty]
    text = MECHANISMS[mechanism].format(strength=strength)
    wish = Wish(f"sb.{kind.__name__}()", text, mechanism, strength, sizes)
    code = snippets(wish)
    page = _page(wish, kind, found, code)
    record: dict[str, Any] = {"symbias": __version__, "penalty": penalty, "mechanism": mechanism}
    record |= {"strength": strength, "shape": list(sizes), "card": found.to_dict()}
    record["warnings"] = [str(w.message) for w in caught]
    files = {f"train_{name}.py": snippet for name, snippet in code.items()}
    files |= {"index.html": page, "card.json": json.dumps(record, indent=2) + "\n"}
    write_all(out, files)
    if as_json:
        print(json.dumps(record, indent=2))
    elif not quiet:
        _show(_answer(wish, kind, found), found, out)


def _mechanism(name: str, strength: float) -> Any:
    import symbias as sb

    return {
        "weight-decay": lambda: sb.WeightDecay(strength),
        "label-noise": lambda: sb.LabelNoise(strength, 0.05),
        "gradient-flow": lambda: sb.GradientFlow(strength),
        "langevin": lambda: sb.Langevin(strength, reference="ambient"),
    }[name]()


def _parse_shape(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        sizes = ()
    if not sizes or len(sizes) > 2 or min(sizes) < 1 or max(sizes) > 10_000:
        raise InputError(f'--shape must be like "100" or "20x5", got {text!r}')
    return sizes


def _page(wish: Any, kind: Any, found: Any, code: dict[str, str]) -> str:
    from symbias.report.page import Section, render

    first = Section(
        title="",
        answer=_answer(wish, kind, found),
        parts=[
            Section(
                "What it prefers under every training",
                lead="The same parameterization prefers different things under different training.",
                figures=[("What it prefers, by way of training.", found.figure())],
                tables=[("The card of this parameterization.", found.table())],
            ),
            Section("Train it", lead="In three libraries; the files stand beside this page."),
        ],
    )
    titles = {"jax": "In JAX", "torch": "In PyTorch", "sklearn": "In scikit-learn"}
    first.parts[-1].parts = [
        Section(titles[name], lead=f"train_{name}.py", code=text) for name, text in code.items()
    ]
    footer = f"Made by symbias {__version__}. This page is self-contained."
    title = f"{kind.belief[:1].upper()}{kind.belief[1:]}, by {wish.kind.replace('-', ' ')}"
    return render(title, "", [first], footer)


def _answer(wish: Any, kind: Any, found: Any) -> str:
    return (
        f"Train the factors of {found.parameterization} with {wish.mechanism}: among the solutions "
        f"that fit, it prefers those of small {kind.formula}."
    )


def _show(answer: str, found: Any, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(answer, style="bold", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for k, heading in enumerate(("training", "penalty", "exact or refused")):
        table.add_column(heading, style="dim" if k == 2 else None)
    for row in found.rows:
        table.add_row(*(Text(cell) for cell in (row.mechanism, row.penalty, row.status)))
    console.print(table)
    page = (out / "index.html").absolute().as_uri()
    console.print(f"Page: {page}", soft_wrap=True, highlight=False)
