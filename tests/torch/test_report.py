"""What is said of designs and penalties during training, and the channels of BatchNorm."""

import copy
import gc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st_
from torch import nn

import symbias as sb
import symbias.torch as st
from symbias.torch.gaps import find_gap


def layered() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


@pytest.mark.parametrize(
    ("sizes", "dead", "threshold"),
    [
        ([1e-9, 1e-6, 1e-4, 0.5, 1.0, 2.0], 3, np.sqrt(1e-4 * 0.5)),  # the uppermost step
        ([0.0, 0.0, 0.3, 0.5], 2, 0.0),
        ([0.2, 0.3, 0.5, 1.0], None, None),
        ([0.01, 0.03, 0.09, 0.3, 0.9], None, None),  # smeared
        ([0.5, 0.6, 0.7, 9.0], None, None),  # one large one is no gap
        ([0.035, 0.4, 1.2], 1, np.sqrt(0.035 * 0.4)),  # the median of what lives is 0.8
        ([0.05, 0.6, 1.2], None, None),  # 0.9
        ([0.0, 0.0], None, None),
        ([1.0], None, None),
    ],
)
def test_a_gap_is_a_step_and_not_a_slope(sizes, dead, threshold) -> None:
    gap = find_gap(np.array(sizes))
    if dead is None:
        assert gap is None
    else:
        assert gap is not None
        assert gap.dead == dead
        assert gap.threshold == pytest.approx(threshold)


@given(
    st_.lists(st_.sampled_from([0.0, 1e-9, 1e-4, 0.01, 0.04, 0.3, 0.5, 1.0, 9.0, 30.0]), min_size=2)
)
def test_a_gap_is_the_uppermost_one_that_qualifies(sizes: list[float]) -> None:
    """By the definition, place by place."""
    s = np.sort(sizes)
    floored = np.maximum(s, 1e-7 * s[-1])
    wanted = [
        k + 1
        for k in range(len(s) - 1)
        if s[-1] > 0
        and floored[k + 1] >= 10 * floored[k]
        and floored[k] <= np.median(floored[k + 1 :]) / 20
    ]
    gap = find_gap(np.array(sizes))
    assert (gap.dead if gap else None) == (wanted[-1] if wanted else None)


def test_a_report_sweeps_the_heap_once_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep costs as much as ten training steps of a small network."""
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    st.apply_matching(model, "*.weight", "l1")
    calls, original = [], gc.get_referrers
    monkeypatch.setattr(gc, "get_referrers", lambda *a: calls.append(1) or original(*a))
    idle = torch.optim.SGD(model.parameters(), lr=0.1)
    notes = [w.notes for w in st.report(model).weights]
    assert all("SGD does not decay its factors" in " ".join(n) for n in notes)
    assert len(calls) == 1
    del idle
    optimizer = torch.optim.SGD(st.factor_parameters(model, 0.1), lr=0.1)
    calls.clear()
    for _ in range(3):
        assert not any(w.notes for w in st.report(model).weights)
    assert len(calls) == 1  # the first finds the optimizer
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    assert all(w.notes for w in st.report(model).weights)


@pytest.mark.slow
def test_sizes_are_those_that_collapse_cuts() -> None:
    model = layered()
    st.apply(model, "0.weight", st.slices(1))
    st.apply(model, "2.weight", "nuclear")
    st.apply(model, "4.weight", sb.TotalVariation(axis=0))
    st.apply(model, "4.bias", "l1")
    weights = [m.weight.detach().clone() for m in (model[0], model[2], model[4])]
    bias = model[4].bias.detach().clone()
    found = {w.name: w.sizes for w in st.report(model).weights}
    expected = {
        "0.weight": weights[0].norm(dim=0),
        "2.weight": torch.linalg.svdvals(weights[1]),
        "4.weight": weights[2].diff(dim=0).abs().reshape(-1),
        "4.bias": bias.abs(),
    }
    for name, sizes in expected.items():
        np.testing.assert_allclose(found[name], np.sort(sizes.numpy()), rtol=1e-5)
    threshold = float(np.median(found["0.weight"]))
    zeros = int(np.sum(found["0.weight"] <= threshold))
    st.collapse(model, threshold)
    assert int((model[0].weight.norm(dim=0) == 0).sum()) == zeros


@pytest.mark.slow
def test_scores_are_those_of_cut_copies() -> None:
    model = layered()
    st.apply(model, "2.weight", st.slices(1))
    st.penalize(model, "4.weight", st.slices(1), 0.1)
    x = torch.randn(20, 5)
    with torch.no_grad():
        model[4].weight[:, :2] *= 1e-6
        before = model(x)
    found = st.report(model, lambda m: float((m(x) - before).abs().max()))
    assert found.curve[0][1:] == (0.0, 0.0)
    assert found.curve[-1][2] > found.curve[0][2]
    for threshold, fraction, score in found.curve:
        twin = copy.deepcopy(model)
        st.collapse(twin, threshold)
        with torch.no_grad():
            twin[4].weight[:, twin[4].weight.norm(dim=0) <= threshold] = 0
            assert float((twin(x) - before).abs().max()) == pytest.approx(score, abs=1e-6)
        sizes = np.concatenate([w.sizes for w in found.weights])
        assert fraction == np.mean(sizes <= threshold)
    assert torch.equal(model(x), before)
    assert found.gap is not None
    assert found.gap.dead == 2
    assert f"threshold={found.gap.threshold:.2g})" in str(found)
    assert found.as_dict()["4.weight/dead"] == 2
    assert found.figure().axes[0].get_yscale() == "log"


def test_what_is_wrong_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match="nothing in Sequential is designed or penalised"):
        st.report(model)
    with pytest.warns(st.ScaleInvariant, match=r"\('0.weight' by '1' \(BatchNorm2d\)\)"):
        st.penalize(model, "*.weight", lambda n, w: st.slices(0)(n, w) if w.ndim > 1 else None, 0.1)
    st.apply(model, "3.bias", "l1")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with torch.no_grad():
        model[3].weight.zero_()
    notes = {w.name: " ".join(w.notes) for w in st.report(model, example_input=x).weights}
    assert "in front of a normalisation, which divides its size out" in notes["0.weight"]
    assert "normalisation" not in notes["3.weight"]
    assert "ALL 2 SIZES ARE ZERO: the layer is dead" in notes["3.weight"]
    assert "no optimizer takes proximal steps for it" in notes["3.weight"]
    assert "SGD does not decay its factors" in notes["3.bias"]
    st.ProximalStep(optimizer)
    optimizer.param_groups[0]["weight_decay"] = 0.1
    assert not any(
        "proximal" in n or "decay" in n for w in st.report(model).weights for n in w.notes
    )


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_channels_end_with_scale_and_shift(kind: type[torch.optim.Optimizer]) -> None:
    """Noise through a BatchNorm is not needed: its channels go, scale and shift in one step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 1, 1))
    table = st.penalize_channels(model, "*", 0.05)
    assert table.touched() == ["1.weight", "1.bias"]
    optimizer = kind(
        [
            {"params": [model[1].weight], "lr": 0.1},
            {"params": [model[1].bias], "lr": 0.05},
            {"params": [*model[0].parameters(), *model[3].parameters()], "lr": 0.1},
        ],
        weight_decay=0.0,
    )
    st.ProximalStep(optimizer)
    x = torch.randn(64, 2, 4, 4)
    y = x[:, :1]
    for _ in range(300):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
    gone = model[1].weight == 0
    assert torch.equal(gone, model[1].bias == 0)
    assert 0 < int(gone.sum()) < 6
    model.eval()
    before = model(x)
    st.shrink(model, x)
    assert model[0].out_channels == 6 - int(gone.sum())
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    with pytest.raises(st.UnknownParameter, match="no BatchNorm with a scale and a shift"):
        st.penalize_channels(layered(), "*", 0.1)


def test_only_a_penalty_that_was_there_is_replaced() -> None:
    model = nn.Sequential(nn.Conv2d(2, 6, 1), nn.BatchNorm2d(6))
    assert "in place of" not in str(st.penalize_channels(model, "*", 0.05))
    assert "in place of 0.05 * " in str(st.penalize_channels(model, "*", 0.1))
