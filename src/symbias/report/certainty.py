"""How sure an answer is, in sentences and tables."""

from typing import Any

from symbias.report.answers import LISTED, names_of, unit_of
from symbias.report.words import listed

Table = tuple[str, list[list[str]]]
_FEATURES = 15
_NONE = (
    "A change would have to explain more than the largest of n squares of the noise, at the level "
    "of 5%: none does."
)
_STAND_IN = (
    "What correlates with a feature that matters can stand in for it, however often it is kept."
)


def certainty(
    record: dict[str, Any], changes: list[list[str]], kept: list[str]
) -> tuple[list[str], list[Table]]:
    """Sentences and tables from what a record says under "sure"."""
    sure = record.get("sure") or {}
    said, tables = [], []
    if "intervals" in sure and changes:
        share = f"{100 * sure['level']:.0f}%"
        intervals = sure["intervals"]
        if len(changes) == 1:
            said.append(f"With {share} confidence the change lies {_span(record, intervals[0])}.")
        else:
            said.append(f"The table has a {share} interval for each change, given the others.")
            rows = [
                [_pair(place), " to ".join(dict.fromkeys(ends))]
                for place, ends in zip(changes, intervals, strict=True)
            ]
            tables.append(_first(f"{share} intervals of the changes", rows))
    elif "intervals" in sure:
        said.append(_NONE)
    if "false_alarms" in sure and changes:
        said.append(
            "Noise alone (what the fit leaves, drawn anew in blocks) shows a change at this "
            f"strength in {round(sure['false_alarms'] * sure['draws'])} of {sure['draws']} series"
            + (": take these changes with care." if sure["false_alarms"] > 0.05 else ".")
        )
    if "periods" in sure:
        said.append(_left_out(record, sure))
    if "kept" in sure:
        more, table = _halves(sure, kept)
        said += [*more, _STAND_IN]
        tables.append(table)
    if "note" in sure:
        said.append(f"Not tested: {sure['note']}.")
    return said, tables


def _span(record: dict[str, Any], ends: list[str]) -> str:
    a, b = ends
    return f"between {a} and {b}" if record["penalty"] == "tv" or a != b else f"at {a}"


def _pair(place: list[str]) -> str:
    return " to ".join(dict.fromkeys(place))


def _first(caption: str, rows: list[list[str]]) -> Table:
    most = 5 * LISTED
    if len(rows) > most:
        caption += f", the first {most} of {len(rows):,} (run.json has all)"
    return f"{caption}.", [["change", "interval"], *rows[:most]]


def _left_out(record: dict[str, Any], sure: dict[str, Any]) -> str:
    unit, parts = unit_of(record), sure["parts"]
    found = [p for p in sure["periods"] if p is not None]
    without = f"Without any one of {parts} stretches of {names_of(record)[0]}"
    if len(found) < parts:
        return f"{without} the period is lost in {parts - len(found)} of {parts} fits."
    low, high = (f"{p:.4g}" for p in (min(found), max(found)))
    if low == high:
        return f"{without}, the strongest period stays {low}."
    return f"{without}, the strongest period lies between {low} and {high} ({unit})."


def _halves(sure: dict[str, Any], kept: list[str]) -> tuple[list[str], Table]:
    halves, counts = sure["halves"], sure["kept"]
    always = [name for name in kept if counts[name] >= 0.9 * halves]
    shaky = [name for name in kept if counts[name] < 0.9 * halves]
    said = []
    if always:
        kept_in = "kept in at least nine of ten random halves of the rows"
        said.append(f"{_some(always)} {_are(always)} {kept_in}.")
    if shaky:
        them = "it" if len(shaky) == 1 else "them"
        said.append(f"{_some(shaky)} {_are(shaky)} kept less often: do not build on {them}.")
    order = sorted(counts, key=lambda name: -counts[name])[:_FEATURES]
    rows = [[name, f"{counts[name]} of {halves}", "yes" if name in kept else ""] for name in order]
    caption = "How often a feature is kept when half of the rows are seen"
    if len(counts) > len(rows):
        caption += f", the first {len(rows)} of {len(counts):,} (run.json has all)"
    return said, (f"{caption}.", [["feature", "kept in", "by all rows"], *rows])


def _some(names: list[str]) -> str:
    more = len(names) - _FEATURES
    return listed([*names[:_FEATURES], f"{more} more"] if more > 0 else names)


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
