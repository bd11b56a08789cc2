"""What one would do about the rows of an audit: remove, truncate, balance, or nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from symbias.audit.measure import Row
from symbias.models import PREFIX

UNEVEN = 0.3  # imbalance above which balancing is worth it
LOOSE = 0.9  # or least norm over norm below which it is

# what does it
COMMANDS = {
    "remove": "symbias.torch.shrink, on the model",
    "look at": "it may be yet to train",
    "truncate": "symbias truncate",
    "balance": "symbias balance",
}


@dataclass(frozen=True)
class Verb:
    """Something to do: which rows want it, what each gains, and how a row and many of them say it.

    ``rows`` of the last one come with the largest gain first.
    """

    name: str
    wanted: Callable[[Row], bool]
    gain: Callable[[Row], float]
    one: Callable[[Row], str]
    many: Callable[[Sequence[Row]], str]


@dataclass(frozen=True)
class Task:
    """One thing to do about all bonds of a kind: ``rows``, the largest gain first, of ``among``."""

    verb: str
    kind: str
    rows: tuple[Row, ...]
    among: int
    what: str

    def __str__(self) -> str:
        count = f"{len(self.rows)} of {self.among} {self.kind}"
        return f"To do: {self.verb} {count}: {self.what} ({COMMANDS[self.verb]})."


def advice(row: Row) -> str:
    """What one would do about a row, with what it brings; empty where there is nothing to do."""
    return "; ".join(f"{verb.name}: {verb.one(row)}" for verb in VERBS if verb.wanted(row))


def tasks(rows: Iterable[Row]) -> list[Task]:
    """What one would do about all rows, by verb and kind of bond; adapted layers are one kind."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault("adapted layers" if row.thin else row.kind, []).append(row)
    found = []
    for verb in VERBS:
        for kind, members in kinds.items():
            ours = sorted(filter(verb.wanted, members), key=verb.gain, reverse=True)
            if ours:
                found.append(Task(verb.name, kind, tuple(ours), len(members), verb.many(ours)))
    return found


def place(row: Row) -> str:
    """The bond, of an adapter the module in the model, and the head."""
    bond = row.bond.removeprefix(PREFIX) if row.thin else row.bond
    what = "expert" if row.thin else "head"
    return bond if row.head is None else f"{bond}, {what} {row.head}"


def steps(row: Row) -> float:
    """How unequal relative gradient steps of the two sides are: (1 + i)/(1 - i) at imbalance i.

    The gradient in one side is that in the product times the other side, so steps relative to
    their sides are as N to M: so unequal where M = c N, and of that order otherwise.
    """
    imbalance = row.imbalance or 0.0
    return (1 + imbalance) / (1 - imbalance) if imbalance < 1 else float("inf")


def _is_dead(row: Row) -> bool:
    """Whether dimensions can be cut: units, or a head as a whole with its values."""
    whole = row.head is None or (row.dead == row.size and not row.kind.startswith("qk"))
    return bool(row.dead) and not row.thin and whole


def _idle(dead: int) -> str:
    return "1 dimension carries nothing" if dead == 1 else f"{dead:,} dimensions carry nothing"


def _is_partly_dead(row: Row) -> bool:
    return bool(row.dead) and not row.thin and not _is_dead(row)


def _partly(row: Row) -> str:
    return f"{row.dead} of {row.size} dimensions carry nothing; no part of one head can be cut"


def _all_partly(rows: Sequence[Row]) -> str:
    dead = sum(row.dead or 0 for row in rows)
    most = f"{place(rows[0])}: {rows[0].dead} of {rows[0].size}"
    return f"{_idle(dead)} ({most}); no part of one head can be cut"


def _without_dead(row: Row) -> float:
    return row.numbers * (row.dead or 0)


def _dead(row: Row) -> str:
    share = 100 * (row.dead or 0) / row.size
    return (
        f"{row.dead} of {row.size} dimensions carry nothing, at least {_without_dead(row):,.0f} "
        f"numbers fewer without them ({share:.0f}%)"
    )


def _all_dead(rows: Sequence[Row]) -> str:
    dead, fewer = sum(row.dead or 0 for row in rows), sum(map(_without_dead, rows))
    most = f"{place(rows[0])}: {rows[0].dead} of {rows[0].size}"
    return f"{_idle(dead)}, at least {fewer:,.0f} numbers fewer without ({most})"


def _is_thick(row: Row) -> bool:
    return row.truncatable and bool(row.rank) and (row.rank or 0) < row.size


def _truncated(row: Row) -> float:
    return row.numbers * (row.size - (row.rank or 0))


def _thick(row: Row) -> str:
    fewer = f"{_truncated(row):,.0f} numbers fewer"
    return f"rank {row.rank} of {row.size} holds 99.9% of the energy, {fewer}"


def _all_thick(rows: Sequence[Row]) -> str:
    ranks, sizes = sorted({row.rank or 0 for row in rows}), sorted({row.size for row in rows})
    span, of = (" to ".join(map(str, dict.fromkeys([v[0], v[-1]]))) for v in (ranks, sizes))
    fewer = sum(map(_truncated, rows))
    return f"rank {span} of {of} holds 99.9% of the energy, {fewer:,.0f} numbers fewer"


def _is_uneven(row: Row) -> bool:
    if not row.movable or row.dead or row.imbalance is None or not row.norm:
        return False
    return row.imbalance > UNEVEN or (row.least_norm or 0.0) < LOOSE * row.norm


def _uneven(row: Row) -> str:
    less = 100 * (1 - (row.least_norm or 0.0) / row.norm)
    times = steps(row)
    fold = f"{times:.2g}" if times < 100 else f"{times:,.0f}"
    apart = f"gradient steps of the two sides differ {fold}-fold"
    return f"imbalance {row.imbalance:.3g}, {apart}, {less:.0f}% less squared norm"


def _all_uneven(rows: Sequence[Row]) -> str:
    return f"the worst is {place(rows[0])}: {_uneven(rows[0])}"


VERBS = (
    Verb("remove", _is_dead, _without_dead, _dead, _all_dead),
    Verb("look at", _is_partly_dead, _without_dead, _partly, _all_partly),
    Verb("truncate", _is_thick, _truncated, _thick, _all_thick),
    Verb("balance", _is_uneven, lambda row: row.imbalance or 0.0, _uneven, _all_uneven),
)
