"""A self-contained HTML page: text, figures and tables, no network."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any


@dataclass
class Section:
    """A part of a page, in the order in which it is read.

    ``answer`` is what was asked, in a sentence; ``findings`` are sentences; ``figures`` pairs of
    (description, data URI); ``tables`` pairs of (caption, rows), the first row the header;
    ``code`` a snippet; ``parts`` stand below, under smaller headings.
    """

    title: str
    lead: str = ""
    answer: str = ""
    findings: list[str] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)
    tables: list[tuple[str, list[list[str]]]] = field(default_factory=list)
    code: str = ""
    parts: list["Section"] = field(default_factory=list)

    def walk(self) -> Iterator["Section"]:
        """The section, then its parts, as they stand on the page."""
        yield self
        for part in self.parts:
            yield from part.walk()


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("symbias.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def render(
    title: str, intro: str, sections: list[Section], footer: str, *, sortable: bool = False
) -> str:
    """The page as HTML; all text is escaped. ``sortable`` tables sort by a click on a heading."""
    return str(
        _template().render(
            title=title, intro=intro, sections=sections, footer=footer, sortable=sortable
        )
    )
