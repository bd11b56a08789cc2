"""Columns of text cells as numbers."""

import re

import numpy as np

MISSING = {"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"}
LARGEST = 1e100  # squares of larger numbers overflow
_TRUTH = {"true": "1", "false": "0"}
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")


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


def with_points(column: list[str], separator: str) -> list[str]:
    """The column with decimal points in the place of decimal commas, or itself if it has none.

    Raises
    ------
    CellError
        Where a comma may stand for thousands: 1,234 in a file that is not separated by semicolons.
    """
    if "," not in "".join(column):
        return column
    with_comma = [c for c in column if "," in c]
    if not all(map(_COMMA.fullmatch, with_comma)) or any("." in c for c in column):
        wrong = next((i for i, c in enumerate(column) if _THOUSANDS.fullmatch(c)), None)
        if wrong is None:
            return column
        raise CellError(wrong, f"{column[wrong]!r} has separators of thousands; leave them out")
    if separator != ";" and all(map(_THOUSANDS.fullmatch, with_comma)):
        wrong = next(i for i, c in enumerate(column) if "," in c)
        cell = column[wrong]
        raise CellError(
            wrong,
            f"{cell!r} may be {cell.replace(',', '.')} or {cell.replace(',', '')}: write the one "
            "that is meant",
        )
    return [c.replace(",", ".") for c in column]


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
