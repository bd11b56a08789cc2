"""Bonds of twins before the function of the full model: claimed, approximate, or not confirmed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from symbias.models.twins.confirm import TOLERANCE, Function
from symbias.models.twins.found import Approximate, Found, claim_of
from symbias.models.twins.make import Run, runner, sized
from symbias.models.twins.precision import restored, without_eps
from symbias.symmetry import Bond

Say = Callable[[str], None]
STEP = 0.1  # of the log of a scale, over which the size of an approximate bond is measured


@dataclass(frozen=True)
class Candidate:
    """A bond of a twin, what it may be at full size, and whether the twin's eps breaks it."""

    bond: Bond
    readings: Iterator[list[Bond]]
    exact: bool


class Judge:
    """The model's own function, with its eps and without: what becomes of readings of bonds."""

    def __init__(self, model: Any, run: Run | None, say: Say) -> None:
        self.model, self.run, self.say = model, run, say
        self.found, self.sized = Found(), sized(model)
        self.seen: set[object] = set()

    def look(self) -> None:
        """The outputs that no bond may move."""
        own = runner(self.model, self.run)
        self.exact = Function(self.model, own)
        with restored(self.model, without_eps(self.model)):
            self.nearly = Function(self.model, own)

    def settle(self, candidates: Sequence[Candidate]) -> None:
        """Claim of each the first reading that the model's function confirms, or that without eps.

        First readings are tried all at once, and by halves where one of them fails: what generic
        elements of all groups together leave in place, those of each leave in place.
        """
        firsts = {k: found for k, c in enumerate(candidates)
                  if (found := next(c.readings, None)) is not None}  # fmt: skip
        self.say(f"confirming {len(firsts)} bonds")
        likely = {k: found for k, found in firsts.items() if candidates[k].exact}
        exact = holding(self.exact, likely)
        with restored(self.model, without_eps(self.model)):
            nearly = holding(self.nearly, {k: f for k, f in firsts.items() if k not in exact})
        for k, candidate in enumerate(candidates):
            if k in exact or k in nearly:
                self._claim(firsts[k], exact=k in exact)
            else:
                self.say(f"confirming bond {k + 1} of {len(candidates)}")
                self._try(candidate, tried=int(k in firsts))

    def _try(self, candidate: Candidate, tried: int) -> None:
        """The other readings, one by one."""
        for reading in candidate.readings:
            tried += 1
            exact = self.exact.keeps(reading)
            with restored(self.model, without_eps(self.model)):
                nearly = exact or self.nearly.keeps(reading)
            if nearly:
                self._claim(reading, exact)
                return
        self.found.unconfirmed[candidate.bond.name] = (
            f"none of {tried} readings at full size keeps the model's output"
            if tried
            else "where its labels lie at full size is not known"
        )

    def _claim(self, reading: Sequence[Bond], exact: bool) -> None:
        bonds = [b for b in reading if _key(b) not in self.seen]
        self.seen |= set(map(_key, bonds))
        change = 0.0 if exact or not bonds else self.exact.change_by(bonds, STEP)
        if exact or change <= TOLERANCE:
            self.found.claims += map(claim_of, bonds)
        else:
            self.found.approximate += [Approximate(claim_of(b), change / STEP) for b in bonds]


def holding(function: Function, readings: Mapping[int, list[Bond]]) -> set[int]:
    """Keys of the readings that keep the function: all at once, or else by halves."""
    if not readings:
        return set()
    if function.keeps([bond for found in readings.values() for bond in found]):
        return set(readings)
    keys = list(readings)
    halves = (keys[: len(keys) // 2], keys[len(keys) // 2 :]) if len(keys) > 1 else ()
    return {k for half in halves for k in holding(function, {k: readings[k] for k in half})}


def _key(bond: Bond) -> object:
    return bond.group, frozenset(
        (e.name, e.axis, e.dual, None if e.rows is None else e.rows.tobytes()) for e in bond.ends
    )
