"""A job on the terminal."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text


def summary(job: Any) -> Group:
    """The answer, then part by part what its page says."""
    section = job.section
    lines: list[RenderableType] = [Text(section.answer, style="bold"), *_said(section.findings)]
    for part in section.parts:
        lines += [Text(f"{part.title}:"), *_said(part.findings)]
        lines += [_numbers(rows) for _, rows in part.tables]
    return Group(*lines, Text())


def _said(findings: list[str]) -> list[Text]:
    return [Text(f"• {finding}") for finding in findings]


def _numbers(rows: list[list[str]]) -> Table:
    table = Table(*rows[0], box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
    for name, *values in rows[1:]:
        table.add_row(Text(name, style="dim"), *map(Text, values))
    return table
