"""Reduced forms of the studies of label noise and gradient flow; the wrong theory fails in them."""

from typing import Any

import numpy as np
import pytest

from symbias.studies import flow_limits, label_shift

SETTINGS = {name: rest for name, *rest in label_shift.settings()}


@pytest.mark.parametrize(
    ("name", "rate"), [("Hadamard", 0.006), pytest.param("groups", 0.01, marks=pytest.mark.slow)]
)
def test_label_noise_shifts_the_mean_as_predicted(name: str, rate: float) -> None:
    """Few pairs: a standard error of about 1%; the next order in the rate adds 1 to 2%."""
    row = label_shift.shift_row(*SETTINGS[name], rate, pairs=8, relaxations=30)
    _agrees(row)


@pytest.mark.slow
def test_anisotropic_inputs_shift_matrices_along_their_own_direction() -> None:
    """The penalty of isotropic inputs, the nuclear norm of W, has another direction."""
    p, inputs, y = SETTINGS["P Q, x @ W"]
    row = label_shift.shift_row(p, inputs, y, 0.01, pairs=16, relaxations=30)
    _agrees(row)
    w = np.linalg.lstsq(inputs, y)[0]
    u, _, vt = np.linalg.svd(w, full_matrices=False)
    naive = -np.linalg.solve(inputs.T @ inputs, u @ vt)
    measured = np.asarray(row["measured_shift"])
    naive *= np.linalg.norm(measured) / np.linalg.norm(naive)
    assert np.linalg.norm(measured - naive) > 0.15 * np.linalg.norm(measured)


def _agrees(row: dict[str, Any]) -> None:
    assert row["standard_error"] < 0.025 * row["predicted"]
    assert row["measured"] == pytest.approx(row["predicted"], rel=0.045)
    assert row["relative_error"] < 0.06


@pytest.mark.slow
def test_flow_descent_and_projection_agree() -> None:
    name, p, inputs, y = flow_limits.cases(key=2, samples=6, size=12)[0]
    scales = (10.0, 1.0, 1e-3, 1e-6)
    rows = flow_limits.rows([(name, p, inputs, y)], scales, (0.02, 0.01))
    assert max(row["flow_error"] for row in rows) < 1e-8
    for row in rows[1:]:
        coarse, fine = row["descent_errors"]
        assert coarse < 0.02
        assert fine == pytest.approx(coarse / 2, rel=0.1)
    to_l2, to_l1 = ([row[k] for row in rows] for k in ("to_l2", "to_l1"))
    assert to_l2[0] < 1e-3 < 0.1 < to_l2[-1]
    assert to_l1[-1] < 0.02 < 0.1 < to_l1[0]
    assert to_l1 == sorted(to_l1, reverse=True)
    assert to_l2[:3] == sorted(to_l2[:3])
