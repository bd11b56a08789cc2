"""What the README says at the door, said on the first page of the site too."""

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parents[2] / "README.md"


def sections() -> dict[str, str]:
    """The README's text by heading, that before the first one as "", with the site's links."""
    text = README.read_text().split("\n", 1)[1]
    text = text.replace("](docs/", "](").replace("](examples/gallery)", "](examples.md)")
    opening, *rest = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return {"": opening, **dict(zip(rest[::2], rest[1::2], strict=True))}


def filled(markdown: str) -> str:
    """Each line ``{{ heading }}`` replaced by that section."""
    found = sections()
    return re.sub(r"^{{ ?(.*?) ?}}$", lambda m: found[m[1]].strip(), markdown, flags=re.MULTILINE)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    return filled(markdown) if page.file.src_uri == "index.md" else markdown
