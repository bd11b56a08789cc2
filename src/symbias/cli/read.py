"""CSV files, checked row by row: what is wrong is named by file, row and column."""

import csv
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from symbias.cli import cells
from symbias.cli.errors import InputError
from symbias.cli.stamps import Stamps, is_date, stamps_of

_SEPARATORS, _FIRST_ROWS = ",;\t", 20


@dataclass(frozen=True)
class Table:
    """Text cells by column, and for each row its line in the file.

    ``separator`` stands between cells; ``named`` says whether the first row held the names.
    ``index`` is an unnamed column that counts rows, which is no part of ``columns``.
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    separator: str = ","
    named: bool = True
    index: str | None = None
    comma: set[str] = field(default_factory=set, compare=False)  # columns with decimal commas

    @property
    def pandas(self) -> str:
        """The code that reads the file."""
        options = [repr(self.path.name), 'comment="#"']
        options += [f"sep={self.separator!r}"] if self.separator != "," else []
        options += ['decimal=","'] if self.comma else []
        options += [] if self.named else [f"names={list(self.columns)!r}"]
        return f"pd.read_csv({', '.join(options)})"

    @cached_property
    def decimal(self) -> str:
        """The decimal mark that some column shows beyond doubt, or ""."""
        return cells.decimal_mark(self.columns.values())

    def column(self, name: str) -> list[str]:
        if name not in self.columns:
            raise InputError(
                f"{self.path}: no column {name!r}; the columns are {', '.join(self.columns)}"
            )
        return self.columns[name]

    def plain(self, name: str) -> list[str]:
        """A column with decimal points, and 1 and 0 for true and false."""
        column = self.column(name)
        try:
            pointed = cells.with_points(column, self.separator, lambda: self.decimal)
        except cells.CellError as error:
            raise self.error(name, error) from None
        if pointed is not column:
            self.comma.add(name)
        return cells.truth_as_numbers(pointed)

    def numbers(self, name: str, *, missing: bool = False) -> np.ndarray:
        """A column as floats; missing cells are nan where they are allowed."""
        try:
            return cells.numbers(self.plain(name), missing)
        except cells.CellError as error:
            raise self.error(name, error) from None

    def times(self, name: str) -> Stamps:
        """A column of numbers or of dates."""
        try:
            return stamps_of(self.plain(name))
        except cells.CellError as error:
            raise self.error(name, error) from None

    def error(self, name: str, error: cells.CellError) -> InputError:
        """What is wrong with a cell of a column, or with all of it."""
        if error.row is None:
            return InputError(f"{self.path}: column {name!r} {error}")
        return InputError(f"{self.path}, row {self.lines[error.row]}, column {name!r}: {error}")


def read_csv(path: Path, header: bool | None = None) -> Table:
    """The table in ``path``: comma, semicolon or tab separated, # for comments.

    Parameters
    ----------
    header : bool, optional
        Whether the first row holds the names of the columns; by default it does, and is refused
        where it looks like data. Without names columns are called column_1, column_2, ...

    Raises
    ------
    InputError
        If the file cannot be read, is empty, has fewer than two rows of data, has columns with the
        same name, a first row that looks like data, or a row of another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a UTF-8 text file; save it as one") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    numbered = [  # other line ends than these are part of a cell
        (number, line)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not numbered:
        raise InputError(f"{path}: the file is empty")
    separator = _separator([line for _, line in numbered[:_FIRST_ROWS]])
    parsed = _cells(path, numbered, separator)
    rows = [[cell.strip() for cell in row] for row in parsed]
    lines = [number for number, _ in numbered]
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise InputError(f"{path}, row {line}: {len(row)} cells, expected {width}")
    names = _names(path, lines[0], rows[0], header)
    if header is not False:
        rows, lines = rows[1:], lines[1:]
    if len(rows) < 2:
        count = "1 row" if rows else "no rows"
        raise InputError(f"{path}: {count} of data, need at least 2")
    columns = {name: [row[j] for row in rows] for j, name in enumerate(names)}
    index = names[0] if header is not False and _counts_rows(rows, parsed[0]) else None
    columns.pop(index or "", None)
    return Table(path, columns, lines, separator, header is not False, index)


def _cells(path: Path, numbered: list[tuple[int, str]], separator: str) -> list[list[str]]:
    reader = csv.reader((line for _, line in numbered), delimiter=separator)
    parsed: list[list[str]] = []
    try:
        for row in reader:
            if reader.line_num > len(parsed) + 1:
                line = numbered[len(parsed)][0]
                raise InputError(f"{path}, row {line}: a quoted cell runs over several lines")
            parsed.append(row)
    except csv.Error as error:
        raise InputError(f"{path}, row {numbered[len(parsed)][0]}: {error}") from None
    return parsed


def _separator(lines: list[str]) -> str:
    """The separator that gives all first rows the same number of cells, most of them."""

    def score(separator: str) -> tuple[bool, int]:
        try:
            widths = {len(row) for row in csv.reader(lines, delimiter=separator)}
        except csv.Error:
            return False, 0
        return len(widths) == 1 and widths != {1}, lines[0].count(separator)

    return max(_SEPARATORS, key=score)


def _names(path: Path, line: int, first: list[str], header: bool | None) -> list[str]:
    if header is False:
        return [f"column_{j}" for j in range(1, len(first) + 1)]
    if header is None and first[0] and _looks_like_data(first):
        raise InputError(
            f"{path}, row {line}: {', '.join(first[:4])} looks like data: give the columns names, "
            "or say --no-header (or --header, if these are the names)"
        )
    names = [cell or f"Unnamed: {j}" for j, cell in enumerate(first)]  # as pandas calls them
    if len(set(names)) < len(names):
        raise InputError(f"{path}, row {line}: every column needs a name of its own: {first}")
    return names


def _looks_like_data(first: list[str]) -> bool:
    known = [cell for cell in first if not cells.is_missing(cell)]
    return bool(known) and all(cells.is_number(c) or is_date(c) for c in known)


def _counts_rows(rows: list[list[str]], header: list[str]) -> bool:
    """Whether the first column has no name and counts rows from 0: what pandas writes."""
    if header[0].strip() or len(header) < 2:
        return False
    return all(row[0] == str(i) for i, row in enumerate(rows))
