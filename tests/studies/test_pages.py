"""What the pages of the studies say, without running one."""

import numpy as np

from symbias.studies import claims, evidence_page

SVG = '<svg xmlns="http://www.w3.org/2000/svg"></svg>'
RESULT = {
    "identity": [{"network": "deep <linear>", "bond": "layer", "error": 3e-16}],
    "equilibria": [
        {"setting": "ReLU", "observable": "ratio", "predicted": 0.577, "measured": 0.58}
        | {"interval": (0.57, 0.59), "verdict": "consistent", "balanced": None}
    ],
    "laws": [
        {"law": "u v", "test": "energy distance", "p_value": 0.4, "verdict": "undecided"}
        | {"wrong": {"flat": 1e-9}}
    ],
    "calibration": [{"test": "KS", "rejected_at_5_percent": 0.049}],
}


def test_the_evidence_page() -> None:
    page = evidence_page.page(RESULT, dict.fromkeys(("equilibria", "laws", "calibration"), SVG))
    assert "2 predictions: 1 consistent, 0 rejected, 1 undecided." in page
    for text in ("deep &lt;linear&gt;", "0.58 (0.57 to 0.59)", "flat: 1.0e-09", "4.9%"):
        assert text in page
    assert page.count("data:image/svg+xml") == 3


def test_predictions_of_theory_stand_apart_from_bands() -> None:
    x = np.linspace(0.9, 1.1, 12)
    rows = [
        claims.in_range("a band", x, 0.5, 2).to_dict(),
        claims.equal("a number", 1.0, x, 0.2).to_dict(),
        claims.in_range("near what theory says", x, 0, 2, theory=True).to_dict(),
    ]
    (first, theory), (second, bands) = claims.tables(rows)
    assert first.startswith("Predicted by theory")
    assert [row[0] for row in theory[1:]] == ["a number", "near what theory says"]
    assert second.startswith("Bands that were chosen")
    assert [row[0] for row in bands[1:]] == ["a band"]
    assert len(claims.tables(rows[:1])) == 1
