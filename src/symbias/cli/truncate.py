"""`symbias truncate`: an adapter at the rank that its products need."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from symbias._version import __version__
from symbias.cli.audit import checkpoint_errors
from symbias.cli.command import Json, Quiet, app, command
from symbias.cli.errors import InputError

MOST = 24  # layers that are listed


@app.command()
@command
def truncate(
    adapter: Annotated[
        Path, typer.Argument(metavar="ADAPTER", help="A folder as PEFT saves it, of a LoRA.")
    ],
    out: Annotated[Path, typer.Option(help="New folder.")],
    energy: Annotated[
        float | None,
        typer.Option(
            help="Share of every product's squared singular values to keep. [default: 0.999]"
        ),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(help="One rank for all layers, in place of --energy.", min=1)
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a LoRA adapter in which every layer has the rank it needs; it loads in PEFT."""
    from symbias._core.progress import progress
    from symbias.adapters import truncate as truncate_adapter

    if energy is not None and rank is not None:
        raise InputError("--energy and --rank exclude each other")
    share = 0.999 if energy is None else energy
    with checkpoint_errors(adapter), progress("truncate", None, show=not (quiet or as_json)) as say:
        found = truncate_adapter(
            adapter, out, energy=share, rank=rank,
            progress=lambda done, total: say(done, "layers", total),
        )  # fmt: skip
    if as_json:
        print(json.dumps({"symbias": __version__, **found.to_dict()}, indent=2))
    elif not quiet:
        _show(found)


def _show(found: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    ranks = [cut.rank for cut in found.layers]
    least = min(found.layers, key=lambda cut: cut.kept)
    lines = (
        f"{len(ranks)} layers, rank {_span(ranks)} of {_span([c.size for c in found.layers])}: "
        f"{found.numbers_before:,} numbers before, {found.numbers_after:,} after",
        f"least of the energy is kept in {least.layer}: {least.kept:.4%}, so that its product "
        f"changes by {(1 - least.kept) ** 0.5:.2%} of its norm",
    )
    for line in lines:
        console.print(line, highlight=False, markup=False)
    table = Table("layer", "rank", "of", "energy kept", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for cut in found.layers[:MOST]:
        table.add_row(cut.layer, str(cut.rank), str(cut.size), f"{cut.kept:.4%}")
    console.print(table)
    if len(found.layers) > MOST:
        print(f"and {len(found.layers) - MOST} more: --json lists all")
    for note in found.notes:
        console.print(f"Note: {note}", highlight=False, markup=False)
    print(f"Written: {found.out}")


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
