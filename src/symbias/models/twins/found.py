"""What a search on twins found, and the file that keeps it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from symbias.models.claims import Claim
from symbias.symmetry import Bond, Translation

MOST_LETTERS = 120  # of a name


@dataclass(frozen=True)
class Approximate:
    """A bond that holds where no norm adds eps: the output moves by ``size`` of itself per unit of
    the log of its scale."""

    claim: Claim
    size: float


@dataclass(frozen=True)
class Account:
    """What is known of one twin's null space.

    ``directions`` are all independent ones (of generators on axes, and shifts), ``unnamed`` those
    without a name among them. ``scales_only`` says that the twin was too large for matrices: its
    scales were searched, and its shifts up to 5,000 parameters.
    """

    parameters: int
    directions: int
    unnamed: int
    seconds: float
    scales_only: bool = False


@dataclass
class Found:
    """Bonds found on twins and confirmed on the model.

    Attributes
    ----------
    claims
        Exact bonds; translations among them (kind "dead") are directions that nothing reads.
    approximate
        Bonds that hold at eps = 0 only, with their size.
    unconfirmed
        Bonds of a twin that are not claimed of the model, with the reason.
    unread
        Arrays of a twin with entries that its inputs never read, such as rows of a table of
        positions: nothing is said about those.
    accounts
        One for each of the two twins, and one of the scales of a deeper twin.
    """

    claims: list[Claim] = field(default_factory=list)
    approximate: list[Approximate] = field(default_factory=list)
    unconfirmed: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all directions of the first twin, and the scales of others, have a name, and all
        bonds were confirmed."""
        searched = bool(self.accounts) and not self.accounts[0].scales_only
        return searched and not self.unconfirmed and not any(a.unnamed for a in self.accounts)


def claim_of(bond: Bond) -> Claim:
    """A found bond as a claim: what nothing reads is dead, and stays."""
    dead = isinstance(bond.group, Translation)
    return Claim(replace(bond, name=_short(bond)), "dead" if dead else "found", movable=not dead)


def _short(bond: Bond) -> str:
    """The names of its arrays without what all share, or how many they are."""
    sides = [list(dict.fromkeys(e.name.removesuffix(".weight") for e in bond.ends if e.dual is d))
             for d in (False, True)]  # fmt: skip
    every = [name.split(".") for side in sides for name in side]
    shared = 0
    while len(every) > 1 and len({tuple(parts[: shared + 1]) for parts in every}) == 1:
        shared += 1
    shared = min([shared, *(len(parts) - 1 for parts in every)])
    prefix = ".".join(every[0][:shared])
    short = [" + ".join(".".join(name.split(".")[shared:]) for name in side) for side in sides]
    text = " | ".join(filter(None, short))
    dead = " dead" if isinstance(bond.group, Translation) else ""
    if len(text) > MOST_LETTERS:
        text = f"{len(every)} arrays, {short[0].split(' + ')[0]} to {text.split(' + ')[-1]}"
    return f"{prefix}: {text}{dead}" if prefix else f"{text}{dead}"


def named_apart(found: Found) -> Found:
    """The same, with a number behind names that are there already."""
    seen: Counter[str] = Counter()

    def apart(claim: Claim) -> Claim:
        seen[claim.bond.name] += 1
        again = f"{claim.bond.name} {seen[claim.bond.name]}"
        return (
            claim
            if seen[claim.bond.name] == 1
            else replace(claim, bond=replace(claim.bond, name=again))
        )

    claims = list(map(apart, found.claims))
    near = [replace(a, claim=apart(a.claim)) for a in found.approximate]
    return replace(found, claims=claims, approximate=near)


def as_yaml(claims: Sequence[Claim]) -> str:
    """The file of bonds that `read_bonds` reads: the next audit of the model needs no torch."""
    import yaml

    listed: list[Mapping[str, Any]] = []
    for claim in claims:
        bond = claim.bond
        item: dict[str, Any] = {"name": bond.name[:200], "group": _text(bond)}
        item |= {} if bond.heads is None else {"heads": bond.heads}
        for side, ends in (("vectors", bond.vectors), ("covectors", bond.covectors)):
            item[side] = [[*e[:2], *([list(map(int, e[2]))] if len(e) == 3 else [])] for e in ends]
        listed.append(item | {"kind": claim.kind, "movable": claim.movable})
    return yaml.safe_dump({"bonds": listed}, sort_keys=False, default_flow_style=None, width=10**6)


def _text(bond: Bond) -> str:
    """The group as the file has it."""
    group, name = bond.group, type(bond.group).__name__
    if name == "UniformScale":
        return name
    more = getattr(group, "layout", "") or ("signed" if getattr(group, "signed", False) else "")
    return f"{name}({group.size}, {more})" if more else f"{name}({group.size})"
