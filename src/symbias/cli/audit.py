"""`symbias audit`: the gauge freedom of a checkpoint."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from symbias._version import __version__
from symbias.cli.command import Json, Quiet, app, command
from symbias.cli.errors import InputError

Bonds = Annotated[
    Path | None, typer.Option("--bonds", help="YAML of bonds, for a model no family knows.")
]
Heads = Annotated[
    int | None, typer.Option(help="Attention heads, where no config.json says.", min=1)
]
Family = Annotated[
    str | None,
    typer.Option(help="What the model is (bert, gpt2, llama, ...), where no config.json says."),
]
ModelPath = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A .safetensors file, or a folder with shards.")
]


@app.command()
@command
def audit(
    model: ModelPath,
    bonds: Bonds = None,
    heads: Heads = None,
    family: Family = None,
    folder: Annotated[
        str | None,
        typer.Option("--out", metavar="FOLDER", help="For a page with figures, JSON and CSV."),
    ] = None,
    residual: Annotated[
        bool,
        typer.Option(help="Measure the residual stream too: most of the time of large models."),
    ] = True,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line per bond as CSV.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """What freedom a model on disk has, and where it sits on its orbits: one row per bond."""
    from symbias.cli.write import writable, write_all

    if as_csv and as_json:
        raise InputError("--csv and --json exclude each other")
    out = None if folder is None else writable(folder)
    if out and model.is_dir() and model.resolve() in (out.resolve(), *out.resolve().parents):
        raise InputError(f"{out}: lies inside the model's own folder")
    show = not (quiet or as_json or as_csv)
    found = run_audit(model, bonds, heads, family, residual=residual, show=show)
    if out is not None:
        from symbias.audit.page import audit_page

        page = audit_page(found, f"Made by symbias {__version__}. This page is self-contained.")
        files = {"index.html": page, "audit.json": _json(found) + "\n"}
        files |= {"bonds.csv": bonds_csv(found), "arrays.csv": arrays_csv(found)}
        write_all(out, files)
    if as_json:
        print(_json(found))
    elif as_csv:
        print(bonds_csv(found), end="")
    elif not quiet:
        _show(found, out)


def run_audit(
    model: Path,
    bonds: Path | None,
    heads: int | None,
    family: str | None,
    *,
    residual: bool,
    show: bool,
) -> Any:
    """The audit; what is wrong with the input as an InputError."""
    from symbias._core.progress import progress
    from symbias.audit import audit as audit_model

    with checkpoint_errors(model):
        given = None if bonds is None else read_bonds(bonds)
        with progress("audit", None, show=show) as report:
            return audit_model(
                model,
                bonds=given,
                heads=heads,
                family=family,
                residual=residual,
                progress=lambda done, total: report(done, "bonds", total),
            )


@contextmanager
def checkpoint_errors(model: Path) -> Iterator[None]:
    """What is wrong with a checkpoint, as an InputError."""
    from symbias.audit import CheckpointError

    try:
        yield
    except CheckpointError as error:
        raise InputError(str(error)) from None
    except MemoryError:
        raise InputError(f"{model}: not enough memory for the arrays of one bond") from None


def read_bonds(path: Path) -> Any:
    """Bonds of a YAML file; the reader loads only when it is needed."""
    from symbias.audit import bonds_file

    return bonds_file.read_bonds(path)


def _json(found: Any) -> str:
    return json.dumps({"symbias": __version__, **found.to_dict()}, indent=2)


def bonds_csv(found: Any) -> str:
    """One line per bond and head."""
    rows = [row.to_dict() for row in found.rows]
    names = list(rows[0]) if rows else ["bond"]
    return _csv([names, *([_cell(row[n]) for n in names] for row in rows)])


def arrays_csv(found: Any) -> str:
    """One line per array that belongs to no bond."""
    return _csv([["array", "reason"], *([k, v] for k, v in found.reasons.items())])


def _csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _show(found: Any, out: Path | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from symbias.audit.page import answer

    console = Console()
    total = found.summary()
    guess = " (a guess)" if found.guess else ""
    console.print(answer(found), style="bold", highlight=False, markup=False)
    console.print(
        f"{total['family']}{guess}: {total['arrays']} arrays, {total['parameters']:,} parameters, "
        f"{total['bonds']} bonds",
        highlight=False,
        markup=False,
    )
    head = ("layer", "group", "bonds", "log vol", "imbalance", "least/norm", "dead", "cond")
    narrow = console.width < 80
    table = Table(*head, box=None, pad_edge=False, padding=(0, 1 if narrow else 2, 0, 0))
    table.columns[1].overflow = "fold"
    for column in table.columns[2:]:
        column.justify, column.no_wrap = "right", True
    for row in layer_rows(found.rows):
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)
    for reason, count in reasons_by_count(found.reasons):
        arrays = "1 array" if count == 1 else f"{count} arrays"
        console.print(f"{arrays} in no bond: {reason}", highlight=False, markup=False)
    for i, note in enumerate(found.notes):
        style = "bold" if found.guess and i == 0 else None
        console.print(f"Note: {note}", style=style, highlight=False, markup=False)
    if out is not None:
        page = (out / "index.html").absolute().as_uri()
        console.print(f"Page: {page}", soft_wrap=True, highlight=False, markup=False)


def layer_rows(rows: Sequence[Any]) -> list[list[str]]:
    """Rows of the heads of one bond taken together: sums, medians of ratios, worst condition."""
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.bond, []).append(row)
    table = []
    for members in groups.values():
        first = members[0]
        norm, least = sum(r.norm for r in members), [r.least_norm for r in members]
        uneven = [r.imbalance for r in members if r.imbalance is not None]
        ratio = "" if None in least or not norm else f"{sum(least) / norm:.3f}"
        dead = [r.dead for r in members if r.dead is not None]
        table.append(
            [
                first.kind if first.layer is None else f"{first.layer} {first.kind}",
                first.group,
                str(len(members)),
                f"{math.fsum(r.log_volume for r in members):.1f}",
                f"{sorted(uneven)[len(uneven) // 2]:.3f}" if uneven else "",
                ratio,
                str(sum(dead)) if dead else "",
                f"{max(r.condition for r in members):.3g}",
            ]
        )
    return table


def reasons_by_count(reasons: dict[str, str]) -> list[tuple[str, int]]:
    """Reasons, the most frequent first."""
    counts: dict[str, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda item: -item[1])
