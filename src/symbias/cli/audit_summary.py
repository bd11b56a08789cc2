"""What `symbias audit` says on the terminal: a row for each kind of bond, and what one would do."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDE = 110  # columns of a terminal that has room for all numbers
BONDS = ("kind", "group", "bonds", "log vol", "imbalance", "worst", "least/norm", "dead", "cond",
         "worst at")  # fmt: skip
PRODUCTS = ("layers", "count", "rank", "effective", "norm", "largest", "share")
LEFT = ("kind", "group", "layers", "worst at")


def show_audit(found: Any, out: Path | None) -> None:
    """Print an audit; everything else is in the page, the CSV and the JSON."""
    from rich.console import Console

    from symbias.audit.page import answer

    console = Console()
    total = found.summary()
    guess = " (a guess)" if found.guess else ""

    def say(text: str, style: str | None = None) -> None:
        console.print(text, style=style, highlight=False, markup=False)

    say(answer(found), "bold")
    say(
        f"{total['family']}{guess}: {total['arrays']} arrays, {total['parameters']:,} parameters, "
        f"{total['bonds']} bonds"
    )
    if found.rows:
        _print(console, BONDS, kind_rows(found.rows))
    if found.products:
        _print(console, PRODUCTS, product_rows(found.products))
    for line in task_lines(found.rows):
        say(line)
    for reason, count in reasons_by_count(found.reasons):
        arrays = "1 array" if count == 1 else f"{count} arrays"
        say(f"{arrays} in no bond: {reason}")
    for i, note in enumerate(found.notes):
        say(f"Note: {note}", "bold" if found.guess and i == 0 else None)
    if out is not None:
        page = (out / "index.html").absolute().as_uri()
        console.print(f"Page: {page}", soft_wrap=True, highlight=False, markup=False)


def _print(console: Any, head: Sequence[str], rows: list[list[str]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    drop = () if console.width >= WIDE else ("log vol", "cond")
    drop = (*drop, "worst at") if console.width < 80 else drop
    keep = [i for i, name in enumerate(head) if name not in drop]
    table = Table(box=None, pad_edge=False, padding=(0, 1 if console.width < 80 else 2, 0, 0))
    for i in keep:
        folds = head[i] == "worst at" or console.width < 80
        table.add_column(
            head[i],
            justify="left" if head[i] in LEFT else "right",
            no_wrap=not folds,
            overflow="fold" if folds else "ellipsis",
        )
    for row in rows:
        table.add_row(*(escape(row[i]) for i in keep))
    console.print(table)


def kind_rows(rows: Sequence[Any]) -> list[list[str]]:
    """Bonds of one kind and group taken together: sums, the median of imbalances and the worst."""
    from symbias.audit.advice import place

    groups: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.kind, row.group), []).append(row)
    table = []
    for (kind, group), members in groups.items():
        norm, least = sum(r.norm for r in members), [r.least_norm for r in members]
        uneven = sorted((r for r in members if r.imbalance is not None), key=lambda r: r.imbalance)
        worst = uneven[-1] if uneven else members[0] if len(members) == 1 else None
        dead = [r.dead for r in members if r.dead is not None]
        table.append(
            [
                kind,
                group,
                str(len(members)),
                f"{math.fsum(r.log_volume for r in members):.1f}",
                f"{uneven[len(uneven) // 2].imbalance:.3f}" if uneven else "",
                f"{uneven[-1].imbalance:.3f}" if uneven else "",
                "" if None in least or not norm else f"{sum(least) / norm:.3f}",
                str(sum(dead)) if dead else "",
                f"{max(r.condition for r in members):.3g}",
                place(worst) if worst else "",
            ]
        )
    return table


def product_rows(products: Sequence[Any]) -> list[list[str]]:
    """Products of layers of one name taken together: ranges."""
    kinds: dict[str, list[Any]] = {}
    for product in products:
        kinds.setdefault(product.layer.split(" expert")[0].rsplit(".", 1)[-1], []).append(product)

    def span(members: list[Any], name: str, form: str) -> str:
        values = [getattr(p, name) for p in members if getattr(p, name) is not None]
        ends = dict.fromkeys(format(v, form) for v in (min(values), max(values))) if values else ()
        return "-".join(ends)

    return [
        [
            kind,
            str(len(members)),
            f"{span(members, 'rank', 'd')} of {span(members, 'size', 'd')}",
            span(members, "effective", ".1f"),
            span(members, "norm", ".2g"),
            span(members, "largest", ".2g"),
            span(members, "share", ".2%"),
        ]
        for kind, members in kinds.items()
    ]


def task_lines(rows: Sequence[Any]) -> list[str]:
    """What one would do, a line for each kind of bond; and that the rest needs nothing."""
    from symbias.audit.advice import advice, tasks

    lines = [str(task) for task in tasks(rows)]
    idle = sum(not advice(row) for row in rows)
    rest = "1 bond needs nothing." if idle == 1 else f"{idle} bonds need nothing."
    return [*lines, rest] if lines and idle else lines


def reasons_by_count(reasons: dict[str, str]) -> list[tuple[str, int]]:
    """Reasons, the most frequent first."""
    counts: dict[str, int] = {}
    for reason in reasons.values():
        counts[reason] = counts.get(reason, 0) + 1
    return sorted(counts.items(), key=lambda item: -item[1])
