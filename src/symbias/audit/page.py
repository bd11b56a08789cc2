"""An audit as a page that stands alone."""

from symbias.audit.advice import advice, place, tasks
from symbias.audit.columns import COLUMNS
from symbias.audit.figures import Value, heat_maps, profile, spectra
from symbias.audit.joint import Joint
from symbias.audit.measure import Row
from symbias.audit.result import Audit
from symbias.report.page import Section, render

MOST_ROWS = 5000


def audit_page(found: Audit, footer: str) -> str:
    """The page: findings, figures, a row for each bond, a reason for each other array."""
    sections = [_overview(found), *_products(found), _bonds(found), *_joint(found), _arrays(found)]
    return render(f"What may move in {found.model}", found.family, sections, footer, sortable=True)


def answer(found: Audit) -> str:
    """What may be changed for nothing, and what that would bring."""
    total = found.summary()
    if not total["bonds"]:
        return f"No freedom was found in {found.model}: every array has a reason below."
    guess = " if it is what its array names suggest" if found.guess else ""
    said = (
        f"The weights of {found.model} can move in {total['dimension']:,} directions without "
        f"changing what it computes{guess}."
    )
    whole = [row for row in found.rows if row.movable and not row.dead]  # what balancing moves
    norm = sum(row.norm for row in whole)
    saved = 1 - sum(row.least_norm or 0.0 for row in whole) / norm if norm else 0.0
    if saved >= 5e-4:
        said += (
            f" Balanced bond by bond, the arrays in them have a squared norm {100 * saved:.2g}% "
            "smaller: symbias balance writes such a checkpoint."
        )
    elif norm:
        said += " It sits where they are smallest: balancing would change nothing."
    if found.products:
        return f"{_of_products(found)} {said}"
    if total["dead"]:
        said += (
            f" {total['dead']:,} dimensions carry nothing: they can be left out, unless they "
            "are yet to be trained."
        )
    return said


def _of_products(found: Audit) -> str:
    """How many ranks an adapter needs."""
    ranks, sizes = (sorted(getattr(p, k) for p in found.products) for k in ("rank", "size"))
    count = sum(p.rank < p.size for p in found.products)
    if all(p.scale == 0 for p in found.products):
        return f"{found.model} adds nothing: its alpha is 0."
    if not ranks[-1]:
        return f"{found.model} adds nothing: its products are zero, as before training."
    if not count:
        return f"{found.model} uses all its ranks: none holds 99.9% of its energy in fewer."
    span, of = (" to ".join(map(str, dict.fromkeys([v[0], v[-1]]))) for v in (ranks, sizes))
    return (
        f"Of {len(found.products)} products of {found.model}, {count} hold 99.9% of their energy "
        f"in fewer ranks than are stored, {span} of {of}: symbias truncate stores them so."
    )


def findings(found: Audit) -> list[str]:
    """What the numbers say, in sentences."""
    total = found.summary()
    share = total["dimension"] / max(total["parameters"], 1)
    said = [
        f"{total['bonds']} bonds in {total['arrays']} arrays with {total['parameters']:,} numbers: "
        f"{100 * share:.2g}% as many directions as parameters change nothing."
    ]
    if total["worst"] is not None:
        said.append(
            f"Median imbalance {total['median_imbalance']:.3g}; the worst is "
            f"{total['worst_imbalance']:.3g}, in {total['worst']}."
        )
    said += [str(task) for task in tasks(found.rows)]
    if total["stabilizers"]:
        said.append(f"{total['stabilizers']} directions of the groups move nothing here.")
    return [*said, *(f"{note[:1].upper()}{note[1:]}." for note in found.notes)]


def _overview(found: Audit) -> Section:
    figures = []
    maps: dict[str, Value] = {
        "imbalance": lambda r: r.imbalance,
        "log volume per dimension": lambda r: r.log_volume / max(r.dimension, 1),
    }
    for title, value in maps.items():
        for kind, figure in heat_maps(title, found.rows, value).items():
            figures.append((f"{title.capitalize()} of every {kind} head, by layer.", figure))
    for kind, figure in spectra(found.rows, found.spectra).items():
        caption = f"Spectra of what {kind} bonds leave unchanged: median of each layer's heads"
        figures.append((f"{caption}, deeper layers lighter.", figure))
    flat = profile(found.rows)
    if flat is not None:
        figures.append(("Imbalance of bonds without heads.", flat))
    summary = found.summary()
    summary["guess"] = "yes, from array names alone" if found.guess else "no"
    totals = [[k.replace("_", " "), _cell(v)] for k, v in summary.items()]
    return Section(
        title="",
        answer=answer(found),
        findings=findings(found),
        figures=figures,
        tables=[("Totals.", [["quantity", "value"], *totals])],
    )


def _products(found: Audit) -> list[Section]:
    """What an adapter adds to each layer."""
    if not found.products:
        return []
    names = ("layer", "size", "rank", "effective", "scale", "norm", "largest", "share")
    rows = [[_cell(getattr(p, name)) for name in names] for p in found.products[:MOST_ROWS]]
    lead = (
        "The product B A of each layer, scaled as it is added to the weight. Rank: how many "
        "singular values hold 99.9% of the energy; effective: the exponential of their entropy; "
        "share: the norm over that of the base weight, where --base gives it."
    )
    table = [list(names), *rows]
    return [Section(title="What the adapter adds", lead=lead, tables=[("Click to sort.", table)])]


def _bonds(found: Audit) -> Section:
    rows = [list(COLUMNS), *(_cells(row) for row in found.rows[:MOST_ROWS])]
    wanted = [[place(row), said] for row in found.rows if (said := advice(row))]
    caption = "Click a heading to sort."
    if len(found.rows) > MOST_ROWS:
        caption += f" The first {MOST_ROWS} of {len(found.rows)} rows; bonds.csv has all."
    tables = [(caption, rows)]
    if wanted:
        listed = [["bond", "what one would do"], *wanted[:MOST_ROWS]]
        tables.append((f"What one would do about {len(wanted)} of them.", listed))
    notes = {row.bond: [row.bond, row.kind, row.note] for row in found.rows if row.note}
    if notes:
        listed = [["bond", "kind", "note"], *list(notes.values())[:MOST_ROWS]]
        tables.append(("What to know about some of them.", listed))
    meant = [[name, *text] for name, text in COLUMNS.items()]
    tables.append(("What the numbers mean.", [["column", "what it means", "what to do"], *meant]))
    return Section(title="Every bond", tables=tables)


def _joint(found: Audit) -> list[Section]:
    """Bonds that share arrays."""
    if not found.joint:
        return []
    head = ["bonds", "dimension", "log volume alone", "together at least", "at most", "how"]
    rows = [
        [", ".join(j.bonds), *map(_cell, (j.dimension, j.alone, j.lower, j.upper)), _how(j)]
        for j in found.joint[:MOST_ROWS]
    ]
    lead = (
        "Log volumes of bonds that share arrays do not add: moves of one look in part like moves "
        "of another. What they have together is at most the sum, if no moves cancel. The residual "
        "stream is not among them."
    )
    table = ("Click to sort.", [head, *rows])
    return [Section(title="Bonds that share arrays", lead=lead, tables=[table])]


def _how(joint: Joint) -> str:
    if joint.exact:
        return "computed"
    return "no bound is known" if joint.lower is None else "bounds"


def _arrays(found: Audit) -> Section:
    if not found.reasons:
        return Section(title="Arrays in no bond", lead="Every array belongs to a bond.")
    rows = [["array", "why it belongs to no bond"], *([k, v] for k, v in found.reasons.items())]
    lead = "Every array of the checkpoint that no bond acts on, with the reason."
    return Section(title="Arrays in no bond", lead=lead, tables=[("Click to sort.", rows)])


def _cells(row: Row) -> list[str]:
    values: list[object] = [row.bond, row.kind, row.layer, row.head, row.group, row.dimension,
                         row.log_volume, row.imbalance, row.norm, row.least_norm, row.dead,
                         row.stabilizers, row.condition, row.rank, round(row.numbers)]  # fmt: skip
    return [_cell(value) for value in values]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
