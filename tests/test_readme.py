"""Every Python snippet in the README runs, and prints what it says."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(code, {})
    promised = re.findall(r"^print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == promised


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 3
