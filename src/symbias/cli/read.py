"""CSV files, checked cell by cell: what is wrong is named by file, row and column."""

import csv
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from symbias.cli.errors import InputError

MISSING = {"", "na", "n/a", "nan", "null", "none"}
LARGEST = 1e100  # squares of larger numbers overflow
_DATE = re.compile(r"\d{4}-\d\d")


@dataclass(frozen=True)
class Table:
    """Text cells by column, and for each row its line in the file."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        if name not in self.columns:
            raise InputError(
                f"{self.path}: no column {name!r}; the columns are {', '.join(self.columns)}"
            )
        return self.columns[name]

    def numbers(self, name: str, *, missing: bool = False) -> np.ndarray:
        """A column as floats; missing cells are nan where they are allowed."""
        cells = self.column(name)
        try:
            values = np.array(cells).astype(float)
        except ValueError:
            values = np.full(len(cells), np.nan)
        if np.all(np.abs(values) <= LARGEST):  # false where nan
            return values
        values = np.array(
            [self._number(name, i, cell, missing) for i, cell in enumerate(cells)], dtype=float
        )
        if np.all(np.isnan(values)):
            raise InputError(f"{self.path}: column {name!r} has only missing values")
        return values

    def times(self, name: str) -> np.ndarray:
        """A column of numbers or of ISO dates, the latter as days since 1970-01-01."""
        cells = self.column(name)
        if not _DATE.match(next((c for c in cells if c.lower() not in MISSING), "")):
            return self.numbers(name)
        stamps = [self._date(name, i, cell) for i, cell in enumerate(cells)]
        zones = {s.tzinfo for s in stamps}
        if len(zones) > 1:
            raise InputError(f"{self.path}: column {name!r} mixes time zones")
        origin = datetime(1970, 1, 1, tzinfo=zones.pop())
        return np.array([(s - origin).total_seconds() / 86400 for s in stamps])

    def _date(self, name: str, i: int, cell: str) -> datetime:
        where = f"{self.path}, row {self.lines[i]}, column {name!r}"
        if cell.lower() in MISSING:
            raise InputError(f"{where}: missing value")
        try:
            return datetime.fromisoformat(f"{cell}-01" if len(cell) == 7 else cell)
        except ValueError:
            raise InputError(f"{where}: {cell!r} is not a date like 2020-01-31") from None

    def _number(self, name: str, i: int, cell: str, missing: bool) -> float:
        where = f"{self.path}, row {self.lines[i]}, column {name!r}"
        if cell.lower() in MISSING:
            if missing:
                return float("nan")
            raise InputError(f"{where}: missing value")
        try:
            value = float(cell)
        except ValueError:
            raise InputError(f"{where}: {cell!r} is not a number") from None
        if not np.isfinite(value):
            raise InputError(f"{where}: {cell!r} is not finite")
        if abs(value) > LARGEST:
            raise InputError(f"{where}: {cell!r} is too large to be squared; rescale")
        return value


def read_csv(path: Path) -> Table:
    """The table in ``path``: comma, semicolon or tab separated, a header, # for comments.

    Raises
    ------
    InputError
        If the file cannot be read, is empty, has fewer than two rows of data, has columns without
        or with the same name, or a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not numbered:
        raise InputError(f"{path}: the file is empty")
    separator = max(",;\t", key=numbered[0][1].count)
    try:
        parsed = list(csv.reader((line for _, line in numbered), delimiter=separator))
    except csv.Error as error:
        raise InputError(f"{path}: {error}") from None
    rows = [[cell.strip() for cell in row] for row in parsed]
    lines = [number for number, _ in numbered]
    if len(rows) != len(lines):
        raise InputError(f"{path}: a quoted cell runs over several lines")
    header = rows[0]
    if "" in header or len(set(header)) < len(header):
        raise InputError(f"{path}, row {lines[0]}: every column needs a name of its own: {header}")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise InputError(f"{path}, row {line}: {len(row)} cells, expected {len(header)}")
    if len(rows) < 3:
        raise InputError(f"{path}: {len(rows) - 1} rows of data, need at least 2")
    columns = {name: [row[j] for row in rows[1:]] for j, name in enumerate(header)}
    return Table(path, columns, lines[1:])
