"""Every bond a family claims, held against the model itself; and what it does not claim."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import symbias as sb
from symbias.audit import audit, open_checkpoint
from symbias.audit.reading import reading_of
from symbias.models.claims import Claim, Reading
from tests.audit.models import MODELS, Live


@pytest.fixture(scope="module", params=MODELS)
def live(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Live:
    return Live(request.param, tmp_path_factory.mktemp("model"))


def read(live: Live) -> tuple[Reading, dict[str, np.ndarray]]:
    return reading_of(open_checkpoint(live.path), None), load_file(live.path / "model.safetensors")


def moved(claims: list[Claim], arrays: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    symmetry = sb.Symmetry([claim.bond for claim in claims])
    return sb.act(symmetry, sb.random_element(symmetry, seed, 0.3), arrays)


def test_every_bond_keeps_the_function(live: Live) -> None:
    found, arrays = read(live)
    kinds = {claim.kind for claim in found.claims}
    assert kinds == live.kinds
    before = live.output(arrays)
    scale = np.abs(before).max()
    for seed, kind in enumerate(sorted(kinds)):
        claims = [claim for claim in found.claims if claim.kind == kind]
        after = live.output(moved(claims, arrays, seed))
        assert np.abs(after - before).max() < live.tolerance * scale, kind
        # the same element on the vector ends alone is no symmetry
        halves = [sb.Bond(c.bond.group, c.bond.vectors, heads=c.bond.heads, name=c.bond.name)
                  for c in claims if c.bond.covectors]  # fmt: skip
        if halves:
            broken = live.output(moved([Claim(b, kind) for b in halves], arrays, seed))
            assert np.abs(broken - before).max() > 100 * live.tolerance * scale, kind


def test_every_array_has_a_bond_or_a_reason(live: Live) -> None:
    found = audit(live.path)
    assert found.family not in ("unknown", "given bonds")
    checkpoint = open_checkpoint(live.path)
    reading = reading_of(checkpoint, None)
    held = {name for claim in reading.claims for name in claim.bond.arrays}
    held |= {name for s in reading.streams for name, _ in (*s.readers, *s.writers)}
    assert held | set(found.reasons) == set(checkpoint.entries)
    assert not held & set(found.reasons)
    assert not any("left out" in note for note in found.notes)
    assert all(np.isfinite(row.log_volume) for row in found.rows)


def bert(folder: Path, **config: object) -> Path:
    rng = np.random.default_rng(0)
    base = "encoder.layer.0.attention"
    arrays = {f"{base}.self.{part}.weight": rng.standard_normal((6, 6))
              for part in ("query", "key", "value")}  # fmt: skip
    arrays[f"{base}.output.dense.weight"] = rng.standard_normal((6, 6))
    arrays[f"{base}.self.distance_embedding.weight"] = rng.standard_normal((5, 3))
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_relative_positions_leave_no_logit_bond(tmp_path: Path) -> None:
    model = bert(tmp_path, model_type="bert", num_attention_heads=2,
                 position_embedding_type="relative_key")  # fmt: skip
    found = audit(model)
    assert {row.kind for row in found.rows} == {"vo"}
    assert "relative positions" in found.reasons["encoder.layer.0.attention.self.query.weight"]


def test_names_of_bert_under_another_type_are_not_trusted(tmp_path: Path) -> None:
    found = audit(bert(tmp_path, model_type="roformer", num_attention_heads=2))
    assert found.family == "unknown"
    assert "'roformer'" in found.notes[0]
    assert len(found.reasons) == 5


def test_what_does_not_fit_is_left_out_with_the_reason(tmp_path: Path) -> None:
    """A grouped convolution sees a part of the channels only."""
    Live("torchvision resnet", tmp_path)
    arrays = load_file(tmp_path / "model.safetensors")
    name = "layer1.0.conv2.weight"
    arrays[name] = np.ascontiguousarray(arrays[name][:, :1])
    save_file(arrays, tmp_path / "a.safetensors")
    found = audit(tmp_path / "a.safetensors")
    (note,) = [note for note in found.notes if "left out" in note]
    assert note.startswith("bond 'layer 1 block 0 channels 0' left out: ")
    assert "'layer1.0.conv2.weight' of shape (4, 1, 3, 3) has 1 entries along axis 1" in note
    assert found.reasons["layer1.0.bn1.weight"].startswith("does not fit")


def test_a_bare_llama_needs_heads_only(tmp_path: Path) -> None:
    """Without a config the sizes of the arrays tell how many heads share a key head."""
    live = Live("llama", tmp_path)
    with_config = audit(live.path)
    (live.path / "config.json").unlink()
    found = audit(live.path, heads=4)
    assert [r.to_dict() for r in found.rows] == [r.to_dict() for r in with_config.rows]
    assert "from array names alone" in found.notes[0]


def test_eps_is_said_in_numbers(tmp_path: Path) -> None:
    """The derivative of a normalised channel along the scale, at the smallest variance."""
    live = Live("torchvision resnet", tmp_path)
    variance = np.array([0.5, 3e-4, 2.0, 1.0])
    arrays = load_file(tmp_path / "model.safetensors") | {"bn1.running_var": variance}
    save_file(arrays, tmp_path / "model.safetensors")
    row = next(r for r in audit(live.path).rows if r.bond == "conv1 scale")

    def normalised(log_scale: float) -> float:
        s = np.exp(log_scale)
        return float(np.log(s / np.sqrt(s**2 * variance.min() + 1e-5)))

    slope = (normalised(1e-4) - normalised(-1e-4)) / 2e-4
    assert float(row.note.split(" by ")[1].split()[0]) == pytest.approx(slope, rel=0.05)


def absorbed(found: Reading, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same function with all gains of the stream in the matrices that read them."""
    (stream,) = found.streams
    offset = float(stream.unit_offset)
    new = dict(arrays)
    for name, gain in stream.readers:
        new[name] = arrays[name] * (arrays[gain] + offset)
    for _, gain in stream.readers:
        new[gain] = np.ones_like(arrays[gain]) - offset
    return new


@pytest.mark.parametrize("name", ["llama with biases", "mixtral", "phi3 partial rotary"])
def test_the_residual_stream_turns_once_gains_are_absorbed(tmp_path: Path, name: str) -> None:
    live = Live(name, tmp_path)
    found, arrays = read(live)
    (stream,) = found.streams
    plain = absorbed(found, arrays)
    before = live.output(arrays)
    assert np.abs(live.output(plain) - before).max() < live.tolerance * np.abs(before).max()
    ends = [(n, 1) for n, _ in stream.readers] + list(stream.writers)
    symmetry = sb.Symmetry([sb.Bond(sb.Orthogonal(stream.size), ends)])
    element = sb.random_element(symmetry, 0)
    after = live.output(sb.act(symmetry, element, plain))
    assert np.abs(after - before).max() < live.tolerance * np.abs(before).max()
    turned = live.output(sb.act(symmetry, element, arrays))  # gains in the way
    assert np.abs(turned - before).max() > 1e-3 * np.abs(before).max()
    # the streamed moment against the closed form over all ends stacked
    row = next(r for r in audit(live.path).rows if r.kind == "residual")
    assert row.log_volume == pytest.approx(float(sb.log_volume(symmetry, plain)), rel=1e-9)
    assert row.norm == pytest.approx(sum(np.sum(plain[n] ** 2) for n, _ in ends) / 2, rel=1e-12)
    assert "absorbed" in row.note


def test_a_tied_embedding_is_measured_as_if_untied(tmp_path: Path) -> None:
    live = Live("gemma", tmp_path)
    found, arrays = read(live)
    (stream,) = found.streams
    assert "untied" in stream.note
    parts = {}
    for i, (name, gain) in enumerate(stream.readers):
        parts[f"r{i}"] = arrays[name] * (1 + arrays[gain])
    for i, (name, axis) in enumerate(stream.writers):
        parts[f"w{i}"] = arrays[name] if axis else arrays[name].T
    bond = sb.Bond(sb.Orthogonal(stream.size), [(name, 1) for name in parts])
    row = next(r for r in audit(live.path).rows if r.kind == "residual")
    assert row.log_volume == pytest.approx(float(sb.log_volume(sb.Symmetry([bond]), parts)), 1e-9)
