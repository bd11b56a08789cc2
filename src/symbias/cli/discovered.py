"""`symbias audit --discover`: bonds of a model that no family knows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symbias.cli.errors import InputError


@dataclass(frozen=True)
class Discovered:
    """Claims to be audited, the file that keeps them, and what a reader should know."""

    claims: list[Any]
    text: str
    notes: list[str]


def discovered(model: Path, *, show: bool) -> Discovered:
    """Bonds found on shrunken twins and confirmed on the model; its problems as an InputError."""
    from symbias._core.progress import progress
    from symbias.audit import CheckpointError, open_checkpoint
    from symbias.models import twins

    try:
        source = open_checkpoint(model)
        module = twins.load_model(source)
        with progress("discover", None, show=show) as report:
            found = twins.find_bonds(module, progress=lambda line: report(0, line))
        claims = twins.claims_for(found, source)
    except (CheckpointError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(str(error)) from None
    if not claims:
        raise InputError(f"{model}: no bond was found: {'; '.join(_notes(found, claims))}")
    return Discovered(claims, twins.as_yaml(claims), _notes(found, claims))


def _notes(found: Any, claims: list[Any]) -> list[str]:
    named = ", ".join(f"{a.directions - a.unnamed} of {a.directions}" for a in found.accounts)
    lines = [f"bonds found on small twins ({named} directions named), confirmed on this model"]
    if any(a.scales_only for a in found.accounts):
        lines.append("the twins were too large to be searched for groups of matrices: scales only")
    if lost := len(found.claims) - len(claims):
        lines.append(f"{lost} bonds are on arrays that the file stores under other names or shapes")
    if found.approximate:
        worst = max(a.size for a in found.approximate)
        lines.append(
            f"{len(found.approximate)} more hold at eps = 0 only: a unit of log scale moves the "
            f"output by {worst:.2g} of itself at most"
        )
    lines += [f"{name[:200]}: {why}" for name, why in found.unconfirmed.items()]
    if found.unread:
        names = ", ".join(dict.fromkeys(found.unread))
        lines.append(f"entries of {names[:200]} were read by no input: nothing is said of them")
    return lines
