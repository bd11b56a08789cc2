"""The examples of the documentation run."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


LONG = ["mechanisms", "dynamics", "designs", "torch"]
PAGES = ["fit", "preferences", "audit", *(pytest.param(p, marks=pytest.mark.slow) for p in LONG)]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.skipif(not DOCS.exists(), reason="installed without the documentation")
def test_examples_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.S)
    assert blocks
    scope: dict[str, object] = {}
    for block in blocks:
        exec(block, scope)
        promised = re.findall(r"^print\(.*\)  # (.*)$", block, flags=re.MULTILINE)
        assert set(promised) <= set(capsys.readouterr().out.splitlines())


@pytest.mark.skipif(not DOCS.exists(), reason="installed without the documentation")
def test_every_page_is_in_the_site() -> None:
    listed = set(re.findall(r": (\S+\.md)", (DOCS.parent / "mkdocs.yml").read_text()))
    made = {"gallery.md", "examples.md"}  # while the site is built
    assert listed == {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")} | made


@pytest.mark.skipif(not DOCS.exists(), reason="installed without the documentation")
def test_docstrings_become_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "hooks"))
    from formulas import on_page_content
    from roles import markdown

    text = "S :math:`g^T g` and ``w`` with <x, w> = y.\n\n    .. math:: a\n        b\n\n>>> a <b\n"
    wanted = "S $g^T g$ and `w` with &lt;x, w> = y.\n\n    $$\n    a b\n    $$\n\n>>> a <b\n"
    assert markdown(text) == wanted
    span = '<span class="arithmatex">\\(a &lt; b\\)</span>'
    assert "<math" in on_page_content(span)
    assert "arithmatex" not in on_page_content(span)
