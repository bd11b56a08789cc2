"""What was done to which parameter, and why."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One parameter: ``done`` says whether it was touched, ``note`` the design or the reason."""

    name: str
    shape: tuple[int, ...]
    done: bool
    note: str


@dataclass(frozen=True)
class Table:
    """Rows for every parameter; print it to read it."""

    rows: list[Row] = field(default_factory=list)

    def touched(self) -> list[str]:
        """The names of the parameters that were touched, whether or not anything is zero now."""
        return [row.name for row in self.rows if row.done]

    def __str__(self) -> str:
        cells = [(r.name, "x".join(map(str, r.shape)), "yes" if r.done else "-") for r in self.rows]
        widths = [max([len(c[k]) for c in cells], default=0) for k in range(3)]
        return "\n".join(
            "  ".join([*(c.ljust(w) for c, w in zip(cell, widths, strict=True)), row.note])
            for cell, row in zip(cells, self.rows, strict=True)
        )
