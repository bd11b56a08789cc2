"""A job on the terminal."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text


def summary(job: Any) -> Group:
    """Findings, then the numbers as a table."""
    _, rows = job.section.tables[0]
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, value in rows[1:]:
        table.add_row(Text(name, style="dim"), Text(value))
    findings = [Text(f"• {finding}") for finding in job.section.findings]
    return Group(Text(job.section.title, style="bold"), *findings, table, Text())
