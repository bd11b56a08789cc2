"""Balanced checkpoints: the same function, least norm, everything else byte by byte."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import symbias as sb
from symbias.audit import CheckpointError, Equilibrium, audit, balance_checkpoint, open_checkpoint
from symbias.audit import balance as balance_module
from tests.audit.models import MODELS, Live

R, HEADS, D = 4, 3, 20


def thin(rng: np.random.Generator, spread: float = 1.0) -> dict[str, np.ndarray]:
    """Queries and keys of three heads, out of balance, and an array nobody names."""
    return {
        "q": rng.standard_normal((HEADS * R, D)) * np.exp(spread),
        "k": rng.standard_normal((HEADS * R, D)) * np.exp(-spread),
        "other": rng.standard_normal((3, 5)),
    }


def qk(r: int = R) -> sb.Bond:
    return sb.Bond(sb.GeneralLinear(r), [("q", 0)], [("k", 0)], heads=HEADS, name="qk")


def products(arrays: dict[str, np.ndarray]) -> np.ndarray:
    q, k = (arrays[n].astype(float).reshape(HEADS, R, -1) for n in "qk")
    return np.einsum("hri,hrj->hij", q, k)


def asserted(name: str) -> str | None:
    """The family that a user must name, where no config.json does."""
    return name.split()[1] if name.startswith(("torchvision", "timm")) else None


@pytest.mark.parametrize("name", MODELS)
def test_every_family_keeps_its_function(tmp_path: Path, name: str) -> None:
    live = Live(name, tmp_path / "model")
    before = live.output(load_file(live.path / "model.safetensors"))
    found = balance_checkpoint(live.path, tmp_path / "new", family=asserted(name))
    moved = load_file(tmp_path / "new" / "model.safetensors")
    after = live.output(moved)
    assert np.abs(after - before).max() <= live.tolerance * np.abs(before).max()
    assert all(m.deviation <= 1 for m in found.moves)
    assert not any(m.note for m in found.moves)
    rows = [r for r in audit(tmp_path / "new").rows if r.kind not in ("gain", "residual")]
    assert max(r.imbalance or 0.0 for r in rows) < 1e-9
    old = load_file(live.path / "model.safetensors")
    size, least = (sum(np.sum(p[n] ** 2) for n in found.changed) for p in (old, moved))
    assert least < 0.999 * size


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_products_keep_to_the_precision_of_the_dtype(tmp_path: Path, dtype: str) -> None:
    import ml_dtypes

    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    arrays = {k: v.astype(kind) for k, v in thin(np.random.default_rng(0)).items()}
    save_file(arrays, tmp_path / "a.safetensors", {"who": "me"})
    found = balance_checkpoint(tmp_path / "a.safetensors", tmp_path / "b.safetensors", bonds=[qk()])
    with safe_open(tmp_path / "b.safetensors", "np") as stream:
        assert stream.metadata() == {"who": "me"}
        new = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    eps = float(ml_dtypes.finfo(kind).eps)
    old, got = products(arrays), products(new)
    assert np.linalg.norm(got - old) <= 3 * eps * np.linalg.norm(new["q"].astype(float)) ** 2
    assert new["other"].tobytes() == arrays["other"].tobytes()
    assert new["q"].dtype == kind
    (move,) = found.moves
    assert move.imbalance_before > 0.9
    assert move.imbalance_after < 10 * eps
    assert 0 < move.deviation <= 1
    rows = audit(tmp_path / "a.safetensors", bonds=[qk()]).rows
    least = sum(r.least_norm or 0.0 for r in rows)
    assert move.norm_after == pytest.approx(least, rel=10 * eps)
    half = np.linalg.svd(old, compute_uv=False).sum()  # the dense definition: nuclear norms
    assert least == pytest.approx(half, rel=1e-9)


def test_only_arrays_of_bonds_change(tmp_path: Path) -> None:
    """Byte by byte, in shards with an index, beside other files and folders."""
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    arrays = {k: v.astype(np.float32) for k, v in thin(np.random.default_rng(1)).items()}
    save_file({"q": arrays["q"], "other": arrays["other"]}, model / "a.safetensors", {"x": "1"})
    save_file({"k": arrays["k"]}, model / "b.safetensors", {"x": "2"})
    weight_map = {"q": "a.safetensors", "other": "a.safetensors", "k": "b.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    blob = tmp_path / "blob"  # shards may be links, as in a download cache
    (model / "b.safetensors").rename(blob)
    (model / "b.safetensors").symlink_to(blob)
    kept = blob.read_bytes()
    (model / "config.json").write_text("{}")
    (model / "deep" / "vocab.txt").write_bytes(bytes(range(256)))
    (model / "pytorch_model.bin").write_bytes(b"never unpickled")
    os.mkfifo(model / "pipe")
    found = balance_checkpoint(model, tmp_path / "new", bonds=[qk()])
    assert found.changed == ["q", "k"]
    assert sorted(found.notes) == [
        "pipe: not a regular file, not copied",
        "pytorch_model.bin: other weights, copied as they are",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blob", "model", "new"]
    assert blob.read_bytes() == kept
    assert not (tmp_path / "new" / "b.safetensors").is_symlink()
    old, new = open_checkpoint(model), open_checkpoint(tmp_path / "new")
    assert list(old.entries) == list(new.entries)
    for name in ("config.json", "deep/vocab.txt", "model.safetensors.index.json"):
        assert (model / name).read_bytes() == (tmp_path / "new" / name).read_bytes()
    for file in ("a.safetensors", "b.safetensors"):
        before, after = ((p / file).read_bytes() for p in (model, tmp_path / "new"))
        assert len(before) == len(after)
        held = {i for n, e in old.entries.items() if n != "other" and e.file.name == file
                for i in range(e.start, e.stop)}  # fmt: skip
        differ = {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b}
        assert differ
        assert differ <= held


def test_dead_directions_stay(tmp_path: Path) -> None:
    """A fresh LoRA has B = 0: sent to least norm it could never learn."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 8)), np.zeros((6, 3))
    arrays = {"x.lora_A.weight": a, "x.lora_B.weight": b}
    arrays |= {"y.lora_A.weight": 5 * a, "y.lora_B.weight": rng.standard_normal((6, 3))}
    save_file(arrays, tmp_path / "adapter_model.safetensors")
    source, out = tmp_path / "adapter_model.safetensors", tmp_path / "b.safetensors"
    found = balance_checkpoint(source, out, family="lora")
    assert found.family == "LoRA"
    new = load_file(tmp_path / "b.safetensors")
    assert np.array_equal(new["x.lora_A.weight"], a)
    assert "dead" in next(m.note for m in found.moves if m.bond == "x")
    wanted = arrays["y.lora_B.weight"] @ arrays["y.lora_A.weight"]
    assert np.allclose(new["y.lora_B.weight"] @ new["y.lora_A.weight"], wanted, rtol=1e-12)
    assert np.linalg.norm(new["y.lora_A.weight"]) == pytest.approx(
        np.linalg.norm(new["y.lora_B.weight"])
    )


def test_dead_units_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"u": rng.standard_normal((5, 4)) * 9, "d": rng.standard_normal((3, 5))}
    arrays["d"][:, 2] = 0
    save_file(arrays, tmp_path / "a.safetensors")
    bond = sb.Bond(sb.Rescaling(5), [("u", 0)], [("d", 1)], name="units")
    found = balance_checkpoint(tmp_path / "a.safetensors", tmp_path / "b.safetensors", bonds=[bond])
    new = load_file(tmp_path / "b.safetensors")
    assert np.array_equal(new["u"][2], arrays["u"][2])
    assert found.moves[0].note.startswith("1 units are dead")
    live = [0, 1, 3, 4]
    assert np.allclose(np.sum(new["u"] ** 2, 1)[live], np.sum(new["d"] ** 2, 0)[live], rtol=1e-12)


Break = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def test_nothing_is_written_when_the_check_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(thin(np.random.default_rng(0)), tmp_path / "a.safetensors")
    right = balance_module.apply

    def wrong(*args: object) -> dict[str, np.ndarray]:
        moved = right(*args)  # type: ignore[arg-type]
        moved["q"][0, 0] *= 1 + 1e-10
        return moved

    monkeypatch.setattr(balance_module, "apply", wrong)
    with pytest.raises(CheckpointError, match="invariants would change"):
        balance_checkpoint(tmp_path / "a.safetensors", tmp_path / "b.safetensors", bonds=[qk()])
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_chain_of_scales_is_checked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = {f"W{i}": rng.standard_normal((6, 6)) * 10.0**i for i in range(3)}
    save_file(arrays, tmp_path / "a.safetensors")
    bonds = [sb.Bond(sb.Rescaling(6), [(f"W{i}", 0)], [(f"W{i + 1}", 1)]) for i in range(2)]
    found = balance_checkpoint(tmp_path / "a.safetensors", tmp_path / "b.safetensors", bonds=bonds)
    assert max(m.imbalance_after for m in found.moves) < 1e-9

    def relu_net(p: dict[str, np.ndarray]) -> np.ndarray:
        x = np.linspace(-1, 1, 6)
        return p["W2"] @ np.maximum(p["W1"] @ np.maximum(p["W0"] @ x, 0), 0)

    assert np.allclose(relu_net(load_file(tmp_path / "b.safetensors")), relu_net(arrays), 1e-12)
    right = balance_module.apply

    def wrong(*args: object) -> dict[str, np.ndarray]:
        moved = right(*args)  # type: ignore[arg-type]
        moved["W1"] = moved["W1"] * (1 + 1e-9)
        return moved

    monkeypatch.setattr(balance_module, "apply", wrong)
    with pytest.raises(CheckpointError, match="invariants would change"):
        balance_checkpoint(tmp_path / "a.safetensors", tmp_path / "c.safetensors", bonds=bonds)


def test_where_it_may_be_written(tmp_path: Path) -> None:
    model, file = tmp_path / "model", tmp_path / "a.safetensors"
    model.mkdir()
    save_file(thin(np.random.default_rng(0)), model / "model.safetensors")
    save_file(thin(np.random.default_rng(0)), file)
    taken = tmp_path / "taken.safetensors"
    taken.write_text("mine")
    for source, out, what in (
        (file, taken, "exists already"),
        (file, file, "exists already"),
        (file, model, "exists already"),
        (model, model / "new", "lies inside"),
        (model, tmp_path / "taken.safetensors" / "x", "File exists|Not a directory"),
    ):
        with pytest.raises(CheckpointError, match=what):
            balance_checkpoint(source, out, bonds=[qk()])
    for source, out, what in ((file, model, "only a file"), (file, file, "the checkpoint itself")):
        with pytest.raises(CheckpointError, match=what):
            balance_checkpoint(source, out, bonds=[qk()], overwrite=True)
    assert taken.read_text() == "mine"
    balance_checkpoint(file, taken, bonds=[qk()], overwrite=True)
    assert audit(taken, bonds=[qk()]).summary()["worst_imbalance"] < 1e-12
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_noise_equilibrium(tmp_path: Path, batch_size: int) -> None:
    """At the new point the mean drift of the charge vanishes, minibatches drawn one by one."""
    rng = np.random.default_rng(0)
    rate, decay, samples = 0.1, 0.01, 60
    arrays = thin(rng, 0.3)
    save_file(arrays, tmp_path / "a.safetensors")
    # per-sample gradients have no component along the orbit: those of tr(A_s Q^T K), head by head
    q, k = (arrays[n].reshape(HEADS, R, D) for n in "qk")
    a = rng.standard_normal((samples, HEADS, D, D)) + 0.1
    grads = {"q": np.einsum("hrj,shij->shri", k, a).reshape(samples, -1, D),
             "k": np.einsum("hri,shij->shrj", q, a).reshape(samples, -1, D)}  # fmt: skip
    save_file(grads, tmp_path / "g.safetensors")
    wish = Equilibrium(tmp_path / "g.safetensors", rate, decay, batch_size)
    found = balance_checkpoint(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", bonds=[qk()], equilibrium=wish
    )
    assert found.target == "noise equilibrium"
    new = load_file(tmp_path / "b.safetensors")
    assert np.allclose(products(new), products(arrays), rtol=1e-9)
    q, k = (new[n].reshape(HEADS, R, D) for n in "qk")
    gq, gk = np.einsum("hrj,shij->shri", k, a), np.einsum("hri,shij->shrj", q, a)

    def second(g: np.ndarray) -> np.ndarray:
        mean = g.mean(0)
        spread = np.einsum("shri,shti->hrt", g - mean, g - mean) / samples
        return spread / batch_size + np.einsum("hri,hti->hrt", mean, mean)

    m, n = np.einsum("hri,hti->hrt", q, q), np.einsum("hri,hti->hrt", k, k)
    drift = ((1 - rate * decay) ** 2 - 1) * (m - n) + rate**2 * (second(gq) - second(gk))
    assert np.abs(drift).max() < 1e-9 * rate**2 * np.abs(second(gq)).max()


def test_gradients_must_fit(tmp_path: Path) -> None:
    arrays = thin(np.random.default_rng(0))
    save_file(arrays, tmp_path / "a.safetensors")
    for grads, what in (
        ({"q": arrays["q"]}, "must be floating, of shape"),
        ({"z": arrays["q"][None]}, "no array 'z'"),
        ({"q": arrays["q"][None]}, "2 or more samples"),
        ({"q": np.stack([arrays["q"]] * 2)}, "no array 'k'"),
    ):
        save_file(grads, tmp_path / "g.safetensors")
        wish = Equilibrium(tmp_path / "g.safetensors", 0.1)
        with pytest.raises(CheckpointError, match=what):
            balance_checkpoint(
                tmp_path / "a.safetensors", tmp_path / "b", bonds=[qk()], equilibrium=wish
            )
    assert not (tmp_path / "b").exists()


def test_a_way_through_a_folder_that_is_not_there_makes_none(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(thin(np.random.default_rng(0)), file)
    balance_checkpoint(file, tmp_path / "x" / ".." / "new.safetensors", bonds=[qk()])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "new.safetensors"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_what_is_only_rounding_is_not_balanced_as_if_it_were_live(
    tmp_path: Path, dtype: str
) -> None:
    """One head whose keys have rank 2 before they are rounded: it stays, the others move."""
    rng = np.random.default_rng(3)
    arrays = thin(rng)
    arrays["k"][:R] = rng.standard_normal((R, 2)) @ rng.standard_normal((2, D)) * 1e-3
    arrays = {name: a.astype(dtype) for name, a in arrays.items()}
    save_file(arrays, tmp_path / "m.safetensors")
    found = balance_checkpoint(tmp_path / "m.safetensors", tmp_path / "n.safetensors", bonds=[qk()])
    assert found.moves[0].note == (
        "1 of 3 heads have directions dead on one side: left as they are"
    )
    moved = load_file(tmp_path / "n.safetensors")
    for name in "qk":
        assert np.array_equal(moved[name][:R], arrays[name][:R])
        assert not np.array_equal(moved[name][R:], arrays[name][R:])
