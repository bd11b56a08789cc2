"""Columns of a table as numbers: missing values filled in, categories as columns of 0 and 1."""

from dataclasses import dataclass

import numpy as np

from symbias.cli import cells
from symbias.cli.errors import InputError
from symbias.cli.read import Table

STRATEGIES = ("mean", "median", "most_frequent")
_WORDS = {"mean": "column's mean", "median": "column's median", "most_frequent": "commonest value"}


@dataclass(frozen=True)
class Features:
    """A matrix X (n, p), a name for each of its columns, and the column of the file it is from.

    ``notes`` are sentences that say what was done, ``code`` what does the same by scikit-learn.
    """

    X: np.ndarray
    names: list[str]
    sources: list[str]
    notes: list[str]
    code: str


def features_of(table: Table, names: list[str], impute: str | None, onehot: bool) -> Features:
    """The columns ``names`` as numbers: those that are numbers first, then the categories.

    True and False are 1 and 0.

    Raises
    ------
    InputError
        For missing values without ``impute``, and text without ``onehot``.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    texts = [n for n in names if _is_text(table, n, onehot)]
    numeric = [n for n in names if n not in texts]
    blocks, notes, made = [], [], list(numeric)
    sources = list(numeric)
    if table.index:
        notes.append("The unnamed first column counts the rows and was left out.")
    if numeric:
        X = np.column_stack([_numbers(table, n, impute) for n in numeric])
        holes = np.isnan(X).sum(axis=0)
        notes += [
            f"{count} missing {'value' if count == 1 else 'values'} of {n}, filled in with the "
            f"{_WORDS[impute or 'mean']}."
            for n, count in zip(numeric, holes, strict=True)
            if count
        ]
        blocks.append(SimpleImputer(strategy=impute or "mean").fit_transform(X))
    if texts:
        known = np.array([[_category(c) for c in table.column(n)] for n in texts], dtype=object).T
        encoder = OneHotEncoder(drop="if_binary", sparse_output=False).fit(known)
        blocks.append(encoder.transform(known))
        for n, kinds in zip(texts, encoder.categories_, strict=True):
            if len(kinds) == len(known):
                raise InputError(
                    f"{table.path}: column {n!r} has a category of its own in every row; --drop it"
                )
            kept = kinds[1:] if len(kinds) == 2 else kinds
            made += [f"{n}_{kind}" for kind in kept]
            sources += [n] * len(kept)
            notes.append(
                f"{n} has {len(kinds)} categories, as {len(kept)} "
                f"{'column' if len(kept) == 1 else 'columns'} of 0 and 1 (one-hot)."
            )
    return Features(np.hstack(blocks), made, sources, notes, _code(numeric, texts, impute))


def _is_text(table: Table, name: str, onehot: bool) -> bool:
    """Whether a column holds categories; a little text among numbers is a mistake."""
    column = table.plain(name)
    known = [c for c in column if not cells.is_missing(c)]
    texts = [c for c in known if not cells.is_number(c)]
    if not texts:
        return False
    mistake = len(texts) < len(known) / 2
    if onehot and not mistake:
        return True
    hint = "" if mistake else "; --onehot takes categories, --drop leaves the column out"
    message = f"{texts[0]!r} is not a number{hint}"
    raise table.error(name, cells.CellError(column.index(texts[0]), message))


def _numbers(table: Table, name: str, impute: str | None) -> np.ndarray:
    values = table.numbers(name, missing=True)
    if impute is None and (holes := np.isnan(values)).any():
        row = int(np.argmax(holes))
        message = f"missing value; --impute {' or '.join(STRATEGIES)} fills it in"
        raise table.error(name, cells.CellError(row, message))
    return values


def _category(cell: str) -> object:
    """Missing values are a category, nan."""
    return np.nan if cells.is_missing(cell) else cell


def _code(numeric: list[str], texts: list[str], impute: str | None) -> str:
    """The same by scikit-learn, from a data frame ``data``."""
    if not texts and not impute:
        return f"StandardScaler().fit_transform(data[{numeric!r}].astype(float))"
    filled = f"SimpleImputer(strategy={impute!r})" if impute else '"passthrough"'
    parts = [f"({filled}, {numeric!r})"] if numeric else []
    onehot = 'OneHotEncoder(drop="if_binary", sparse_output=False)'
    parts += [f"({onehot}, {texts!r})"] if texts else []
    made = "make_pipeline(\n    make_column_transformer(" + ", ".join(parts) + "),"
    kinds = "".join(f"{n!r}: float, " for n in numeric).removesuffix(", ")
    return made + f"\n    StandardScaler(),\n).fit_transform(data.astype({{{kinds}}}))"
