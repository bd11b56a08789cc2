"""The pruning example runs, and its removal of dead units keeps the function."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

import symbias.torch as st

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="installed without the examples")


@pytest.mark.slow
def test_it_runs_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", ["pruning.py", "--quick", "--out", str(tmp_path)])
    runpy.run_path(str(EXAMPLES / "pruning.py"), run_name="__main__")
    rows = json.loads((tmp_path / "pruning.json").read_text())
    penalised = {"design", "sgd", "adam", "proximal", "adamw"}
    assert {r["method"] for r in rows} == penalised | {"magnitude", "dense"}
    dense = {r["network"]: r["size"] for r in rows if r["method"] == "dense"}
    assert dense == {"conv net": 38282, "transformer": 18026}
    assert all(r["size"] < dense[r["network"]] for r in rows if r["method"] == "magnitude")
    assert all(r["accuracy"] > 0.5 for r in rows if r["method"] == "dense")
    assert "<svg" in (tmp_path / "pruning.svg").read_text()
    out = capsys.readouterr().out
    assert "transformer  design     0.064" in out
    assert "too short to prune" in out


@pytest.mark.parametrize("kind", ["conv net", "transformer"])
def test_units_that_nobody_reads_are_all_removed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    networks = runpy.run_path(str(EXAMPLES / "networks.py"))
    torch.manual_seed(0)
    model = networks["NETWORKS"][kind]()
    for unit in model.units:
        weight = model.get_submodule(unit.reader).weight
        with torch.no_grad():
            weight[:, : weight.shape[1] // 2] = 0
    x = torch.randn(3, 1, 8, 8)
    before, large = model(x), networks["size"](model)
    widths = [model.get_submodule(u.reader).weight.shape[1] for u in model.units]
    st.shrink(model, x, low_rank=False)
    torch.testing.assert_close(model(x), before, rtol=1e-5, atol=1e-5)
    assert networks["size"](model) < 0.65 * large
    assert [2 * model.get_submodule(u.reader).weight.shape[1] for u in model.units] == widths
