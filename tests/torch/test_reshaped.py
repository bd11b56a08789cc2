"""Penalties of matrices on the kernels of convolutions, as designs and by proximal steps."""

import numpy as np
import pytest
import torch
from torch import nn

import symbias as sb
import symbias.torch as st


def unfolded(name: str, weight: torch.Tensor) -> sb.Penalty:
    return sb.Reshaped(sb.Nuclear(), (weight.shape[0], -1))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, bias=False)).double()


def soft(kernel: torch.Tensor, by: float) -> np.ndarray:
    """The proximal map of the nuclear norm of (out, in kh kw)."""
    flat = kernel.detach().numpy().reshape(len(kernel), -1)
    u, s, vt = np.linalg.svd(flat, full_matrices=False)
    return ((u * np.maximum(s - by, 0)) @ vt).reshape(kernel.shape)


def test_designs_of_kernels_change_nothing_until_they_are_trained() -> None:
    model, x = net(), torch.randn(5, 3, 8, 8, dtype=torch.float64)
    before = model(x)
    table = st.apply_matching(model, "*.weight", unfolded)
    assert sum(row.done for row in table.rows) == 2
    torch.testing.assert_close(model(x), before)
    st.collapse(model)
    torch.testing.assert_close(model(x), before)
    assert model[2].weight.shape == (4, 6, 3, 3)


@pytest.mark.parametrize("way", [pytest.param("design", marks=pytest.mark.slow), "proximal"])
def test_training_ends_at_the_thresholded_unfolding(way: str) -> None:
    """|W - target|^2 / 2 + strength nuclear(W): singular values less the strength, rank 3 of 4."""
    model = net()
    layer, target = model[2], model[2].weight.detach().clone()
    s = np.linalg.svd(target.numpy().reshape(4, -1))[1]
    strength = float(s[2] + s[3]) / 2
    if way == "design":
        st.apply(layer, "weight", unfolded)
        optimizer = torch.optim.SGD(st.factor_parameters(layer, strength), 0.1, momentum=0.9)
    else:
        st.penalize(layer, "weight", unfolded, strength)
        optimizer = torch.optim.SGD(layer.parameters(), 0.5)
        st.ProximalStep(optimizer)
    for _ in range(500 if way == "design" else 100):
        optimizer.zero_grad()
        ((layer.weight - target) ** 2).sum().div(2).backward()
        optimizer.step()
    if way == "design":
        st.collapse(layer)
    found = layer.weight.detach().numpy()
    np.testing.assert_allclose(found, soft(target, strength), atol=1e-8)
    if way == "proximal":
        assert np.linalg.matrix_rank(found.reshape(4, -1), tol=1e-9) == 3


def test_a_kernel_without_a_shape_is_told_of_it() -> None:
    with pytest.raises(ValueError, match=r"\(4, -1\)\) takes it"):
        st.apply(net(), "2.weight", "nuclear")
