"""Columns of time stamps: numbers, or dates as they are written where that leaves no doubt."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symbias.cli.cells import CellError, is_missing, numbers

_TIME = r"(?:[T ]\d\d(?::\d\d(?::\d\d(?:\.\d{1,9})?)?)?)?"
_PLAIN = rf"\d{{4}}-\d\d(?:-\d\d{_TIME})?"
_ISO = re.compile(rf"({_PLAIN}) ?(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?")
_Y, _M, _D = r"(?P<y>\d{4})", r"(?P<m>0?[1-9]|1[0-2])", r"(?P<d>0?[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[T ](?P<t>\d\d:\d\d(?::\d\d)?))?"
_FORMS = {  # and how pandas reads them
    "year-month-day": (re.compile(_PLAIN), 'pd.to_datetime({}, format="ISO8601")'),
    "year-month-day, zone": (_ISO, "pd.to_datetime({}, utc=True).dt.tz_localize(None)"),
    "yearmonthday": (
        re.compile(r"(?P<y>1[89]\d\d|2[01]\d\d)(?P<m>\d\d)(?P<d>\d\d)"),  # no other counter
        'pd.to_datetime({}.astype(str), format="%Y%m%d")',
    ),
    "year/month/day": (re.compile(f"{_Y}/{_M}/{_D}{_CLOCK}"), "pd.to_datetime({})"),
    "day.month.year": (
        re.compile(rf"{_D}\.{_M}\.{_Y}{_CLOCK}"),
        "pd.to_datetime({}, dayfirst=True)",
    ),
    "day/month/year": (
        re.compile(f"{_D}/{_M}/{_Y}{_CLOCK}"),
        "pd.to_datetime({}, dayfirst=True)",
    ),
    "month/day/year": (re.compile(f"{_M}/{_D}/{_Y}{_CLOCK}"), "pd.to_datetime({})"),
    "quarters": (
        re.compile(r"(?P<y>\d{4})-?Q(?P<q>[1-4])"),
        'pd.PeriodIndex({}, freq="Q").to_timestamp()',
    ),
}
INDEX = "index"  # the form of stamps that count the rows
_NAMES = {
    *("t", "time", "timestamp", "date", "datetime", "ds", "index", "step", "epoch", "period"),
    *("year", "quarter", "month", "week", "day", "hour", "minute", "second"),
}
_HINT = "write dates like 2020-01-31"


@dataclass(frozen=True)
class Stamps:
    """Time stamps of the rows of a file.

    ``values`` are floats, int64 or datetime64 (UTC where offsets differ), ``cells`` what stands in
    the file, ``form`` the way in which dates are written, or "numbers" or "index"; ``pandas`` the
    code that reads such a column.
    """

    values: np.ndarray
    cells: list[str]
    form: str = "numbers"
    pandas: str = "{}"

    @classmethod
    def counted(cls, count: int) -> "Stamps":
        """0, 1, 2, ..., for a file without a column of time."""
        return cls(np.arange(count, dtype=float), [str(i) for i in range(count)], INDEX)

    @property
    def dates(self) -> bool:
        return self.values.dtype.kind == "M"

    def written(self) -> list[str]:
        """The distinct stamps in order, as they stand in the file."""
        _, first = np.unique(self.values, return_index=True)
        return [self.cells[i] for i in first]


def is_date(cell: str) -> bool:
    return any(pattern.fullmatch(cell) for pattern, _ in _FORMS.values())


def is_time(name: str, cells: list[str]) -> bool:
    """Whether a column looks like the time: by its name, as dates, or as numbers that increase."""
    if re.sub(r"\s*[(\[].*", "", name).strip().casefold() in _NAMES:
        return True
    if all(map(is_date, cells)):
        return True
    try:
        return bool(np.all(np.diff(numbers(cells)) > 0))
    except CellError:
        return False


def stamps_of(cells: list[str]) -> Stamps:
    """A column of numbers, or of dates that are all written in one way.

    Raises
    ------
    CellError
        For missing or impossible stamps, for dates that may mean two days, and for a mixture.
    """
    found: list[Stamps] = []
    wrong: CellError | None = None
    for form, (pattern, pandas) in _FORMS.items():
        if all(map(pattern.fullmatch, cells)) and not (found and pattern is _ISO):
            try:
                found.append(_dates(cells, form, pandas))
            except CellError as error:
                wrong = error
    if not found:
        return _numbers(cells, wrong)
    first, *others = found
    for other in others:
        if (apart := first.values != other.values).any():
            row = int(np.argmax(apart))
            raise CellError(row, f"{cells[row]!r} may be {first.form} or {other.form}; {_HINT}")
    return first


def _numbers(cells: list[str], wrong: CellError | None) -> Stamps:
    """Numbers; whole ones that floats would round as int64."""
    for pattern, _ in _FORMS.values():
        if pattern.fullmatch(cells[0]) and not cells[0].isdigit():
            row = next((i for i, c in enumerate(cells) if not pattern.fullmatch(c)), None)
            if row is None:
                assert wrong is not None
                raise wrong
            if is_missing(cells[row]):
                raise CellError(row, "missing value")
            raise CellError(row, f"{cells[row]!r} is not a date like {cells[0]}")
    try:
        values = numbers(cells)
    except CellError as error:
        if "not a number" not in str(error):
            raise
        raise CellError(error.row, f"{error} or a date; {_HINT}") from None
    if np.abs(values).max() >= 2**53:
        try:
            return Stamps(np.array(cells).astype(np.int64), cells)
        except (ValueError, OverflowError):
            pass
    return Stamps(values, cells)


def _dates(cells: list[str], form: str, pandas: str) -> Stamps:
    pattern = _FORMS[form][0]
    bodies: Sequence[str] = cells
    zones: Sequence[str] = ()
    matches = (m for m in map(pattern.fullmatch, cells) if m)
    if pattern is _ISO:
        bodies, zones = zip(*(m.groups("") for m in matches), strict=True)
    elif pattern.groups:
        bodies = [_iso(**m.groupdict()) for m in matches]
    unit = "ns" if max(map(len, bodies)) > len("2020-01-31T10:00:00.123456") else "us"
    try:
        values = np.array(bodies, dtype=f"datetime64[{unit}]")
    except ValueError:
        raise _impossible(cells, bodies) from None
    kinds = set(zones)
    if "" in kinds:
        row = next(i for i, zone in enumerate(zones) if bool(zone) != bool(zones[0]))
        raise CellError(row, f"mixes time zones: {cells[0]!r} and {cells[row]!r}")
    if len(kinds) > 1:  # else times stay as they are on the clock
        minutes = {zone: _minutes(zone) for zone in kinds}
        values = values - np.array([minutes[z] for z in zones], dtype="timedelta64[m]")
        form += ", to UTC"
    return Stamps(values, cells, form, pandas)


def _iso(y: str, m: str = "", d: str = "1", t: str | None = None, q: str = "1") -> str:
    return f"{y}-{int(m or 3 * int(q) - 2):02}-{int(d):02}" + (f"T{t}" if t else "")


def _minutes(zone: str) -> int:
    """East of Greenwich."""
    if zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return int(zone[0] + "1") * (60 * int(digits[:2]) + int(digits[2:]))


def _impossible(cells: list[str], bodies: Sequence[str]) -> CellError:
    for row, body in enumerate(bodies):
        try:
            np.datetime64(body)
        except ValueError:
            return CellError(row, f"{cells[row]!r} is no day or time of the calendar")
    return CellError(None, "has dates that are out of range")
