"""The examples of docs/dynamics.md run."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "dynamics.md"


@pytest.mark.skipif(not PAGE.exists(), reason="installed without the documentation")
def test_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert blocks
    scope: dict[str, object] = {}
    for block in blocks:
        exec(block, scope)
