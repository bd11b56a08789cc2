"""Columns of text cells as numbers."""

import re
from collections.abc import Callable, Iterable

import numpy as np

MISSING = {"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"}
LARGEST = 1e100  # squares of larger numbers overflow
_TRUTH = {"true": "1", "false": "0"}
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+(?:[eE][+-]?\d+)?")
_THREE = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")  # with a decimal mark, or one of thousands
_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:(?:,\d{3})+(?:\.\d*)?|(?:\.\d{3}){2,}(?:,\d*)?)")
_WRITTEN = re.compile(r"[+-]?(?:0|[1-9]\d*)?(?:[.,]\d+)?(?:[eE][+-]?\d+)?")  # no 01.2020


class CellError(Exception):
    """What is wrong with the cell in ``row`` of a column, or (None) with the whole column."""

    def __init__(self, row: int | None, message: str) -> None:
        super().__init__(message)
        self.row = row


def is_missing(cell: str) -> bool:
    return cell.lower() in MISSING


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def with_points(column: list[str], separator: str, decimal: Callable[[], str]) -> list[str]:
    """The column with decimal points in the place of decimal commas, or itself if it has none.

    ``decimal`` tells the decimal mark that the rest of the file shows, or "".

    Raises
    ------
    CellError
        Where a mark may stand for thousands in all cells that have one: 1,234, and 1.234 in a file
        that is separated by semicolons, unless the rest of the file settles it.
    """
    text = "".join(column)
    if "," not in text and (separator != ";" or "." not in text):
        return column
    mark = "," if "," in text else "."
    marked = {i: c for i, c in enumerate(column) if mark in c}
    if (mark == "," and "." in text) or not all(map(_DECIMAL.fullmatch, marked.values())):
        grouped = [i for i, c in marked.items() if _GROUPS.fullmatch(c)]
        if grouped and all(_GROUPS.fullmatch(c) or _DECIMAL.fullmatch(c) for c in marked.values()):
            raise _thousands(grouped[0], column[grouped[0]])
        return column
    if all(map(_THREE.fullmatch, marked.values())) and decimal() != mark:
        row, cell = next(iter(marked.items()))
        if decimal():
            raise _thousands(row, cell)
        point, none = cell.replace(mark, "."), cell.replace(mark, "")
        advice = f" ({point}0 or {none})" if separator == ";" else ""
        raise CellError(
            row, f"{cell!r} may be {point} or {none}: write the one that is meant{advice}"
        )
    return column if mark == "." else [c.replace(",", ".") for c in column]


def _thousands(row: int, cell: str) -> CellError:
    return CellError(row, f"{cell!r} has separators of thousands; leave them out")


def decimal_mark(columns: Iterable[list[str]]) -> str:
    """The mark of decimals in columns of numbers, or "" where none or both are used for sure."""
    found = set()
    for column in columns:
        known = [c for c in column if not is_missing(c)]
        if not any("." in c or "," in c for c in known):
            continue
        if all(_WRITTEN.fullmatch(c) for c in known):
            sure = {c for c in known if not _THREE.fullmatch(c)}
            found |= {mark for mark in ".," if any(mark in c for c in sure)}
    return found.pop() if len(found) == 1 else ""


def truth_as_numbers(column: list[str]) -> list[str]:
    """True and False as 1 and 0 in a column of nothing else, or the column itself."""
    if column[0].lower() not in {*_TRUTH, *MISSING}:
        return column
    if not all(c.lower() in _TRUTH or is_missing(c) for c in column):
        return column
    return [_TRUTH.get(c.lower(), c) for c in column]


def numbers(column: list[str], missing: bool = False) -> np.ndarray:
    """The column as floats, nan where missing cells are allowed.

    Raises
    ------
    CellError
        For cells that are missing, no number, not finite or too large to be squared.
    """
    try:
        values = np.array(column).astype(float)
    except ValueError:
        values = np.full(len(column), np.nan)
    if np.all(np.abs(values) <= LARGEST) and "_" not in "".join(column):  # false where nan
        return values
    values = np.array([_number(i, cell, missing) for i, cell in enumerate(column)], dtype=float)
    if np.all(np.isnan(values)):
        raise CellError(None, "has only missing values")
    return values


def _number(row: int, cell: str, missing: bool) -> float:
    if is_missing(cell):
        if missing:
            return float("nan")
        raise CellError(row, "missing value")
    if not is_number(cell):
        raise CellError(row, f"{cell!r} is not a number")
    value = float(cell)
    if not np.isfinite(value):
        raise CellError(row, f"{cell!r} is not finite")
    if abs(value) > LARGEST:
        raise CellError(row, f"{cell!r} is too large to be squared; rescale")
    return value
