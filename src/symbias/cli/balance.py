"""`symbias balance`: a checkpoint with the same function, in another gauge."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from symbias._version import __version__
from symbias.cli.audit import Bonds, Family, Heads, ModelPath, checkpoint_errors, read_bonds
from symbias.cli.command import Json, Quiet, app, command
from symbias.cli.errors import InputError


@app.command()
@command
def balance(
    model: ModelPath,
    out: Annotated[Path, typer.Option(help="New file, or new folder if MODEL is a folder.")],
    bonds: Bonds = None,
    heads: Heads = None,
    family: Family = None,
    gradients: Annotated[
        Path | None,
        typer.Option(help="Safetensors of gradients, one more leading axis: noise equilibrium."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of SGD, with --gradients.")] = None,
    weight_decay: Annotated[float, typer.Option(help="Coupled (L2), with --gradients.")] = 0.0,
    batch_size: Annotated[int, typer.Option(help="With --gradients of single samples.", min=1)] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file NEW.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a checkpoint with the same function and the least norm; checked, or not written."""
    if gradients is None and (learning_rate is not None or weight_decay or batch_size != 1):
        raise InputError("--learning-rate, --weight-decay and --batch-size need --gradients")
    if gradients is not None and not 0 < (learning_rate or 0.0) < float("inf"):
        raise InputError("--gradients needs a positive --learning-rate")
    if not 0 <= weight_decay < float("inf"):
        raise InputError(f"--weight-decay must not be negative, got {weight_decay}")
    from symbias._core.progress import progress
    from symbias.audit import Equilibrium, balance_checkpoint

    with checkpoint_errors(model):
        given = None if bonds is None else read_bonds(bonds)
        wish = None
        if gradients is not None and learning_rate is not None:
            wish = Equilibrium(gradients, learning_rate, weight_decay, batch_size)
        with progress("balance", None, show=not (quiet or as_json)) as report:
            found = balance_checkpoint(
                model,
                out,
                bonds=given,
                heads=heads,
                family=family,
                equilibrium=wish,
                overwrite=overwrite,
                progress=lambda done, total: report(done, "sets of bonds", total),
            )
    if as_json:
        print(json.dumps({"symbias": __version__, **found.to_dict()}, indent=2))
    elif not quiet:
        _show(found)


def _show(found: Any) -> None:
    before, after = (sum(getattr(m, f"norm_{k}") for m in found.moves) for k in ("before", "after"))
    worst = [max(getattr(m, f"imbalance_{k}") for m in found.moves) for k in ("before", "after")]
    print(
        f"{found.family}: {sum(m.heads for m in found.moves if not m.note)} bonds moved to "
        f"{found.target}, "
        f"{len(found.changed)} arrays rewritten"
    )
    print(f"half squared norm of their arrays: {before:.6g} before, {after:.6g} after")
    print(f"worst imbalance of a head: {worst[0]:.3g} before, {worst[1]:.3g} after")
    off = max(m.deviation for m in found.moves)
    print(f"invariants changed by at most {off:.2f} of what rounding to the dtype explains")
    for move in found.moves:
        if move.note:
            print(f"{move.bond}: {move.note}")
    for note in found.notes:
        print(f"Note: {note}")
    print(f"Written: {found.out}")
