"""The glossary: every word that a page links to is there, with a picture of what it says."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
if not DOCS.exists():
    pytest.skip("installed without the documentation", allow_module_level=True)

sys.path.insert(0, str(DOCS / "hooks"))
from glossary import PICTURES, P, orbit_of, picture  # noqa: E402

sys.path.pop(0)

TEXT = (DOCS / "glossary.md").read_text()
WORDS = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)


def test_links_lead_to_words_that_are_there() -> None:
    anchors = {re.sub(r"[^a-z]+", "-", word.lower()) for word in WORDS}
    linked = {
        anchor
        for page in DOCS.rglob("*.md")
        for anchor in re.findall(r"glossary\.md#([a-z-]+)\)", page.read_text())
    }
    assert {"bond", "orbit", "gauge", "balanced", "charge", "gram"} <= linked <= anchors


def test_every_word_is_short_and_has_a_picture() -> None:
    for part in TEXT.split("\n## ")[1:]:
        sentences = re.findall(r"[.:;?](?=\s)", part.split("![")[0])
        assert 2 <= len(sentences) <= 8, part
        assert part.count("![") == 1
    assert set(re.findall(r"glossary/(\w+)\.svg", TEXT)) == set(PICTURES)


@pytest.mark.parametrize("name", ["bond", "orbit", "gauge", "balanced", "charge", "gram"])
def test_pictures_are_drawn(name: str) -> None:
    assert picture(name).count("<path") > 5


def test_orbits_keep_the_product() -> None:
    points = orbit_of(2.0)
    np.testing.assert_allclose(points.prod(axis=1), 2.0)
    np.testing.assert_allclose(P({"u1": points[:1, 0], "u2": points[:1, 1]}), 2.0)
    assert np.ptp(points[:, 0]) > 10
