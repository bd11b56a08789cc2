"""The ten examples of the site: under 30 lines each, and their printed answers hold."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LassoCV

DOCS = Path(__file__).parents[1] / "docs"
if not DOCS.exists():
    pytest.skip("installed without the documentation", allow_module_level=True)

sys.path.insert(0, str(DOCS / "hooks"))
from examples import FOLDER, READERS, run  # noqa: E402

sys.path.pop(0)


def least_l1() -> float:
    """The least l1 norm of a w with X w = y, of the problem in flow.py, by a linear program."""
    x = np.random.default_rng(0).normal(size=(12, 30))
    y = x @ np.r_[1.0, -2.0, 1.5, np.zeros(27)]
    return linprog(np.ones(60), A_eq=np.hstack([x, -x]), b_eq=y).fun


def level(text: str, found: list[float]) -> None:
    flow = np.loadtxt(FOLDER.parents[1] / "src/symbias/data/nile.csv", delimiter=",", skiprows=3)
    means = flow[flow[:, 0] <= 1898, 1].mean(), flow[flow[:, 0] > 1898, 1].mean()
    assert found[:3] == [1, 1898, 1899]
    np.testing.assert_allclose(found[3:], means, atol=0.5)


def features(text: str, found: list[float]) -> None:
    assert text.startswith("kept: sex bmi bp s3 s5 s6,")
    assert found[-2] < 1e-8
    assert found[-1] == np.sum(LassoCV().fit(*load_diabetes(return_X_y=True)).coef_ != 0)


def groups(text: str, found: list[float]) -> None:
    assert text == "6 of 10 act: sex bmi bp s3 s5 s6"


def completion(text: str, found: list[float]) -> None:
    missing, error, rank = found
    assert 55 < missing < 65
    assert error < 25  # at 10% noise, and of the rank of the truth
    assert rank == 3


def pruning(text: str, found: list[float]) -> None:
    left, units, right = found
    assert units == 64
    assert 8 <= left <= 14
    assert right > 94


def adapter(text: str, found: list[float]) -> None:
    norm, imbalance, least, balanced = found
    assert imbalance > 0.3
    assert balanced < 0.005
    assert least < 0.8 * norm


def trainings(text: str, found: list[float]) -> None:
    flows = [np.arcsinh(4 / start**2) / np.arcsinh(1 / start**2) for start in (10.0, 0.001)]
    ratios = [found[k] for k in (2, 3, 4, 6, 8)]  # behind the w of both pulls, less the starts
    np.testing.assert_allclose(ratios, [1, 1, *flows, 0.25], atol=0.01)


def flow(text: str, found: list[float]) -> None:
    large, _, small, _, off = found
    least = least_l1()
    assert large > 1.5 * least
    assert least - 0.005 <= small < 1.002 * least
    assert off < 0.005


def charges(text: str, found: list[float]) -> None:
    for decay, measured in zip((0.0, 0.02, 0.1), found[1::3], strict=True):
        assert abs(measured - 2 * np.exp(-2 * 0.01 * decay * 4000)) < 0.01


def langevin(text: str, found: list[float]) -> None:
    one, two, other = found  # false alarms of a true law, by fixed seeds none: 2 in 100
    assert min(one, two) > 0.01
    assert other < 1e-6


CLAIMS = {f.__name__: f for f in (level, features, groups, completion, pruning, adapter)}
CLAIMS |= {f.__name__: f for f in (trainings, flow, charges, langevin)}


SLOW = ("trainings", "flow", "charges", "langevin", "adapter", "pruning")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CLAIMS]
)
def test_the_answer_holds(name: str, tmp_path: Path) -> None:
    answer, figure = run(name, tmp_path)
    assert "\n" not in answer
    numbers = re.findall(r"(?<![\w.^])[-+]?\d+\.?\d*(?:e[-+]?\d+)?", answer.replace(",000", "000"))
    CLAIMS[name](answer, [float(n) for n in numbers])
    assert figure.count("<path") > 10


def test_ten_short_scripts_are_listed() -> None:
    scripts = {p.stem: len(p.read_text().splitlines()) for p in FOLDER.glob("*.py")}
    assert len(scripts) == 10
    assert set(scripts) == {name for names in READERS.values() for name in names} == set(CLAIMS)
    assert max(scripts.values()) < 30
