"""The examples of docs/geometry.md run."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "geometry.md"


@pytest.mark.skipif(not PAGE.exists(), reason="installed without the documentation")
def test_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert blocks
    scope: dict[str, object] = {}
    for block in blocks:
        exec(block, scope)
