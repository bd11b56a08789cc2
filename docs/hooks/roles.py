"""Docstrings as Sphinx reads them, for Markdown: math roles, math blocks, references to names."""

import re
from typing import Any

import griffe

BLOCK = re.compile(r"^([ ]*)\.\. math:: *(.*(?:\n(?:\1[ ]+\S.*|[ ]*(?=\n\1[ ]+\S)))*)", re.M)


TAG = re.compile(r"(`[^`]*`|^ *(?:>>>|\.\.\.).*$)|<(?=[A-Za-z/])", re.M)


def markdown(text: str) -> str:
    """The same text with Markdown's marks; <x, w> is no tag."""
    text = BLOCK.sub(lambda m: f"{m[1]}$$\n{m[1]}{' '.join(m[2].split())}\n{m[1]}$$", text)
    text = re.sub(r":math:`([^`]*)`", r"$\1$", text)
    return TAG.sub(lambda m: m[1] or "&lt;", text.replace("``", "`"))


class Roles(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if not obj.is_alias and obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
