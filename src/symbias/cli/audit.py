"""`symbias audit`: the gauge freedom of a checkpoint."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from symbias._version import __version__
from symbias.cli.command import Json, Quiet, app, command
from symbias.cli.discovered import discovered
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
    discover: Annotated[
        bool,
        typer.Option(
            "--discover", help="Find the bonds of a model of transformers that no family knows."
        ),
    ] = False,
    heads: Heads = None,
    family: Family = None,
    folder: Annotated[
        str | None,
        typer.Option("--out", metavar="FOLDER", help="For a page with figures, JSON and CSV."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="The model an adapter is for: norms as shares of its."),
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
    if discover and (bonds or heads or family or base):
        raise InputError("--discover excludes --bonds, --heads, --family and --base")
    own = discovered(model, show=show) if discover else None
    given = bonds if own is None else own.claims
    found = run_audit(model, given, heads, family, base, residual=residual, show=show)
    if own is not None:
        found.family, found.notes = "discovered", [*own.notes, *found.notes]
    if out is not None:
        from symbias.audit.page import audit_page

        page = audit_page(found, f"Made by symbias {__version__}. This page is self-contained.")
        files = {"index.html": page, "audit.json": _json(found) + "\n"}
        files |= {"bonds.csv": bonds_csv(found), "arrays.csv": arrays_csv(found)}
        files |= {} if own is None else {"bonds.yaml": own.text}
        files |= {"products.csv": products_csv(found)} if found.products else {}
        write_all(out, files)
    if as_json:
        print(_json(found))
    elif as_csv:
        print(bonds_csv(found), end="")
    elif not quiet:
        from symbias.cli.audit_summary import show_audit

        show_audit(found, out)


def run_audit(
    model: Path,
    bonds: Path | list[Any] | None,
    heads: int | None,
    family: str | None,
    base: Path | None,
    *,
    residual: bool,
    show: bool,
) -> Any:
    """The audit; what is wrong with the input as an InputError."""
    from symbias._core.progress import progress
    from symbias.audit import audit as audit_model

    with checkpoint_errors(model):
        given = read_bonds(bonds) if isinstance(bonds, Path) else bonds
        with progress("audit", None, show=show) as report:
            found = audit_model(
                model,
                bonds=given,
                heads=heads,
                family=family,
                base=base,
                residual=residual,
                progress=lambda done, total: report(done, "bonds", total),
            )
    if not found.rows and found.notes:
        raise InputError(f"{model}: no bond was found: {'; '.join(found.notes[:3])}")
    return found


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
    from symbias import models

    return models.read_bonds(path)


def _json(found: Any) -> str:
    return json.dumps({"symbias": __version__, **found.to_dict()}, indent=2)


def bonds_csv(found: Any) -> str:
    """One line per bond and head."""
    return _table(found.to_dict()["bonds"], "bond")


def products_csv(found: Any) -> str:
    """One line per product of an adapter."""
    return _table(found.to_dict()["products"], "layer")


def arrays_csv(found: Any) -> str:
    """One line per array that belongs to no bond."""
    return _csv([["array", "reason"], *([k, v] for k, v in found.reasons.items())])


def _table(rows: Sequence[dict[str, Any]], first: str) -> str:
    names = list(rows[0]) if rows else [first]
    return _csv([names, *([_cell(row[n]) for n in names] for row in rows)])


def _csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
