"""What was asked of a fit, answered in one sentence."""

from typing import Any

import numpy as np

from symbias._core.arrays import as_columns
from symbias.estimators import SeriesFit
from symbias.report.words import amount, counted, listed, times

LISTED, _LARGEST = 8, 5  # changes that are all named, and the largest of more
_UNITS = ("year", "month", "week", "day", "hour", "minute", "second", "sample")


def names_of(record: dict[str, Any]) -> list[str]:
    """The columns that were fitted."""
    target = record["target"]
    return [target] if isinstance(target, str) else list(target)


def unit_of(record: dict[str, Any]) -> str:
    """What periods are measured in."""
    if record["time_form"] not in ("numbers", "index"):
        return "days"
    name = record["time"] or "sample"
    return f"{name.lower()}s" if name.lower() in _UNITS else str(name)


def series_title(record: dict[str, Any], changes: int) -> str:
    """Such as: flow: one change of level."""
    names = ", ".join(names_of(record))
    if "constant" in record:
        return f"{names}: constant"
    if record["penalty"] == "spectral":
        period = record["strongest_period"]
        return f"{names}: {f'a period of {_period(record)}' if period else 'no period'}"
    return f"{names}: {counted(changes, 'change')} of {_what(record)}"


def series_answer(fit: SeriesFit, record: dict[str, Any], changes: list[list[str]]) -> str:
    """What became of a series; ``changes`` as they are written in the data."""
    if "constant" in record:
        return constant_answer(record)
    names, what = names_of(record), _what(record)
    if record["penalty"] == "spectral":
        if record["strongest_period"] is None:
            return f"No period of {names[0]} stands out: no frequency is kept."
        return f"The strongest period of {names[0]} is {_period(record)}."
    of = f"The {what}{'s' * (len(names) > 1)} of {listed(names)}"
    together = " together" * (len(names) > 1)
    if not changes:
        return f"{of} {'do' if len(names) > 1 else 'does'} not change."
    moves = moves_of(fit)
    if len(changes) == 1 and len(names) == 1:
        verb = _verb(moves[0][0])
        return f"{of} {verb} once, {_place(record, changes[0])}, {_from_to(moves[0][0], record)}."
    if len(changes) <= LISTED:
        each = [
            f"{_place(record, place)} ({_moves(names, move, record)})"
            for place, move in zip(changes, moves, strict=True)
        ]
        return f"{of} changed{together} {times(len(changes))}: {listed(each)}."
    sizes = np.linalg.norm(moves[..., 1] - moves[..., 0], axis=1)
    largest = np.argsort(-sizes, kind="stable")[:_LARGEST]
    each = [f"{_place(record, changes[k])} ({_moves(names, moves[k], record)})" for k in largest]
    return f"{of} changed{together} {times(len(changes))}, most of all {listed(each)}."


def moves_of(fit: SeriesFit) -> np.ndarray:
    """Levels, or slopes per unit of time, before and after each change; without shrinkage.

    Shape (changes, channels, 2). Where there are too many changes to undo it, as they were fitted.
    """
    signal = as_columns(fit.fitted if fit.unshrunk is None else fit.unshrunk)
    before, after = np.searchsorted(fit.times, fit.places).T
    if np.any(before != after):
        return np.stack([signal[before], signal[after]], axis=-1)
    slopes = np.diff(signal, axis=0) / np.diff(fit.in_steps(fit.times) * fit.step)[:, None]
    return np.stack([slopes[before - 1], slopes[before]], axis=-1)


def _what(record: dict[str, Any]) -> str:
    return "level" if record["penalty"] == "tv" else "slope"


def _period(record: dict[str, Any]) -> str:
    unit = unit_of(record)
    named = unit.removesuffix("s") in _UNITS
    if unit == "days" and record["strongest_period"] < 2:
        return f"{24 * record['strongest_period']:.4g} hours"
    period = f"{record['strongest_period']:.4g}"
    if not named:
        return f"{period} (in units of {unit})"
    return f"{period} {unit.removesuffix('s') if period == '1' else unit}"


def _place(record: dict[str, Any], pair: list[str]) -> str:
    a, b = pair
    return f"between {a} and {b}" if record["penalty"] == "tv" else f"at {a}"


def _verb(move: np.ndarray) -> str:
    return "fell" if move[1] < move[0] else "rose"


def _from_to(move: np.ndarray, record: dict[str, Any]) -> str:
    before, after = (amount(float(value), float(move[1] - move[0])) for value in move)
    unit = unit_of(record)
    single = unit.removesuffix("s")
    per = f" per {single if single in _UNITS else unit}" if record["penalty"] == "trend" else ""
    return f"from {before} to {after}{per}"


def _moves(names: list[str], moves: np.ndarray, record: dict[str, Any]) -> str:
    each = [_from_to(move, record) for move in moves]
    if len(names) == 1:
        return each[0]
    return ", ".join(f"{name} {move}" for name, move in zip(names, each, strict=True))


def constant_answer(record: dict[str, Any]) -> str:
    """What is said of a target that never changes."""
    names = names_of(record)
    value = "" if record["constant"] is None else f" ({record['constant']:.6g} everywhere)"
    return (
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} constant{value}: nothing is left to "
        "explain, at any strength, and nothing was cross-validated."
    )


def table_title(record: dict[str, Any], kept: list[str]) -> str:
    """Such as: price: 4 of 10 features kept."""
    if "constant" in record:
        return f"{record['target']}: constant"
    return f"{record['target']}: {len(kept)} of {len(record['features'])} features kept"


def table_answer(record: dict[str, Any], kept: list[str]) -> str:
    """Which features a table keeps, the strongest first."""
    if "constant" in record:
        return constant_answer(record)
    if not kept:
        return f"No feature explains {record['target']} at this strength."
    shown = kept[:12]
    more = f", and {len(kept) - 12} more" if len(kept) > 12 else ""
    one = len(kept) == 1
    does = f"predict{'s' * one} {record['target']}"
    if "classes" in record:
        does = f"tell{'s' * one} the classes of {record['target']} apart"
    named = ", ".join(shown) + more if more else listed(shown)
    return f"{len(kept)} of {len(record['features'])} features {does}: {named}."


def signs(record: dict[str, Any]) -> list[str]:
    """Which class a coefficient speaks for."""
    if not record.get("positive_class"):
        return []
    other = next(kind for kind in record["classes"] if kind != record["positive_class"])
    return [
        f"A positive coefficient speaks for {record['positive_class']}, a negative one for {other}."
    ]
