"""Adapters at lower ranks: what PEFT makes of them, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from symbias.adapters import truncate
from symbias.audit import CheckpointError, audit
from symbias.cli import app
from tests.audit.test_lora import EXPERTS, PEFT, RANK, adapter, arrays_of, peft_adapter, peft_output
from tests.audit.test_lora import updates as products_of


def low_rank(folder: Path, ranks: dict[str, int], size: int = 6, **config: Any) -> Path:
    """Layers whose products have these ranks, stored at ``size``."""
    rng = np.random.default_rng(0)
    arrays = {}
    for layer, rank in ranks.items():
        mix = rng.standard_normal((size, rank)) @ rng.standard_normal((rank, size))
        arrays[f"{layer}.lora_A.weight"] = rng.standard_normal((size, 20))
        arrays[f"{layer}.lora_B.weight"] = rng.standard_normal((16, size)) @ mix
    folder.mkdir()
    save_file(arrays, folder / "adapter_model.safetensors", {"format": "pt"})
    told = {"peft_type": "LORA", "r": size, "lora_alpha": 12} | config
    (folder / "adapter_config.json").write_text(json.dumps(told))
    (folder / "README.md").write_text("kept")
    return folder


def scaled(folder: Path, layer: str) -> np.ndarray:
    """What PEFT would add to the weight of a layer: the first pattern that ends its name counts."""
    config = json.loads((folder / "adapter_config.json").read_text())

    def found(patterns: dict[str, Any], usual: Any) -> Any:
        return next((v for k, v in patterns.items() if re.match(rf"(.*\.)?({k})$", layer)), usual)

    rank = found(config.get("rank_pattern", {}), config["r"])
    alpha = found(config.get("alpha_pattern", {}), config["lora_alpha"])
    arrays = arrays_of(folder)
    a, b = (arrays[f"{layer}.lora_{part}.weight"] for part in "AB")
    assert a.shape[0] == b.shape[1] == rank
    return alpha / (np.sqrt(rank) if config.get("use_rslora") else rank) * b @ a


@pytest.mark.parametrize("config", [{}, {"use_rslora": True}, {"alpha_pattern": {"b.x": 5}}])
def test_low_rank_is_found_and_nothing_else_changes(tmp_path: Path, config: dict[str, Any]) -> None:
    ranks = {"a.x": 2, "b.x": 3, "c.x": 3}
    old = low_rank(tmp_path / "old", ranks, **config)
    found = truncate(old, tmp_path / "new", energy=1 - 1e-12)
    assert {cut.layer: cut.rank for cut in found.layers} == ranks
    assert (found.numbers_before, found.numbers_after) == (3 * 6 * 36, 8 * 36)
    new = tmp_path / "new"
    for layer in ranks:
        before, after = scaled(old, layer), scaled(new, layer)
        assert np.abs(after - before).max() < 1e-11 * np.abs(before).max()
        arrays = arrays_of(new)
        a, b = (arrays[f"{layer}.lora_{part}.weight"] for part in "AB")
        assert np.allclose(a @ a.T, b.T @ b)  # balanced
    assert (new / "README.md").read_text() == "kept"
    told = json.loads((new / "adapter_config.json").read_text())
    assert told["r"] == 3
    assert told["rank_pattern"] == {r"^a\.x": 2}
    if not config:
        assert told["lora_alpha"] == 6  # an integer where it can be
        assert told["alpha_pattern"] == {r"^a\.x": 4}


def test_names_that_end_other_names(tmp_path: Path) -> None:
    """PEFT takes the pattern x for a.x too, and a.x for a_x: a dot is any character."""
    ranks = {"x": 2, "a.x": 4, "b.y": 3, "c.y": 3, "a_x": 3}
    old = low_rank(tmp_path / "old", ranks, alpha_pattern={"^x": 4, "a_x": 7})
    truncate(old, tmp_path / "new", energy=1 - 1e-12)
    for layer in ranks:
        before, after = scaled(old, layer), scaled(tmp_path / "new", layer)
        assert np.abs(after - before).max() < 1e-11 * np.abs(before).max()


def test_the_energy_is_kept_and_no_rank_more(tmp_path: Path) -> None:
    old = adapter(tmp_path / "old")
    for energy in (0.5, 0.9, 0.999, 1.0):
        found = truncate(old, tmp_path / f"{energy}", energy=energy)
        for cut in found.layers:
            s = np.linalg.svd(products_of(arrays_of(old), cut.layer, 1)[0], compute_uv=False)
            shares = np.cumsum(s**2) / np.sum(s**2)
            assert cut.kept == pytest.approx(shares[cut.rank - 1])
            assert cut.kept >= energy - 1e-12
            assert cut.rank == 1 or shares[cut.rank - 2] < energy
            change = scaled(tmp_path / f"{energy}", cut.layer) - scaled(old, cut.layer)
            norm = np.linalg.norm(change) / np.linalg.norm(scaled(old, cut.layer))
            assert norm == pytest.approx(np.sqrt(max(1 - cut.kept, 0)), abs=1e-7)


def test_one_rank_for_all(tmp_path: Path) -> None:
    old = low_rank(tmp_path / "old", {"a.x": 2, "b.x": 5})
    found = truncate(old, tmp_path / "new", rank=4)
    assert [cut.rank for cut in found.layers] == [4, 4]
    told = json.loads((tmp_path / "new" / "adapter_config.json").read_text())
    assert (told["r"], told["lora_alpha"]) == (4, 8)
    assert told["rank_pattern"] == told["alpha_pattern"] == {}
    assert found.layers[0].kept == pytest.approx(1)
    again = truncate(old, tmp_path / "more", rank=99)
    assert [cut.rank for cut in again.layers] == [6, 6]


def test_a_product_that_is_zero_is_left_to_learn(tmp_path: Path) -> None:
    """At A = B = 0 no gradient would arrive: A stays, whole or its first rows."""
    old = low_rank(tmp_path / "old", {"a.x": 2, "b.x": 0})
    found = truncate(old, tmp_path / "new")
    assert [(cut.rank, cut.kept) for cut in found.layers][1] == (6, 1.0)
    before, after = arrays_of(old), arrays_of(tmp_path / "new")
    for name in ("b.x.lora_A.weight", "b.x.lora_B.weight"):
        assert np.array_equal(before[name], after[name])
    truncate(old, tmp_path / "two", rank=2)
    cut = arrays_of(tmp_path / "two")
    assert np.array_equal(cut["b.x.lora_A.weight"], before["b.x.lora_A.weight"][:2])
    assert not cut["b.x.lora_B.weight"].any()
    assert cut["b.x.lora_B.weight"].shape == (16, 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", PEFT)
def test_peft_loads_it_and_computes_the_same(tmp_path: Path, case: str) -> None:
    """At full energy, and at the rank that half the energy needs: only what was cut is missing."""
    kind, config = PEFT[case]
    old = peft_adapter(kind, tmp_path / "old", **config)
    before = peft_output(kind, old)
    truncate(old, tmp_path / "whole", energy=1.0)
    scale = np.abs(before).max()
    assert np.abs(peft_output(kind, tmp_path / "whole") - before).max() < 1e-5 * scale
    found = truncate(old, tmp_path / "half", energy=0.5)
    assert min(cut.rank for cut in found.layers) < RANK
    moved = np.abs(peft_output(kind, tmp_path / "half") - before).max()
    assert 1e-4 * scale < moved


@pytest.mark.filterwarnings("ignore")
def test_peft_computes_the_same_of_products_that_are_low(tmp_path: Path) -> None:
    """Ranks that differ from layer to layer, in files with the prefix that PEFT writes."""
    kind, config = PEFT["rslora, patterns"]
    old = peft_adapter(kind, tmp_path / "old", **config)
    arrays = arrays_of(old)
    for i, name in enumerate(n for n in arrays if "lora_A" in n):
        arrays[name][1 + i % 2 :] = 0
    save_file(arrays, old / "adapter_model.safetensors", {"format": "pt"})
    found = truncate(old, tmp_path / "new")
    assert {cut.rank for cut in found.layers} == {1, 2}
    before, after = (peft_output(kind, tmp_path / name) for name in ("old", "new"))
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()


def test_the_check_reads_the_config_as_peft_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from symbias.adapters import config

    monkeypatch.setattr(config.re, "escape", lambda name: name.rsplit(".", 1)[-1])
    old = low_rank(tmp_path / "old", {"a.x": 2, "b.x": 3, "c.x": 3})
    with pytest.raises(CheckpointError, match=r"'a\.x': PEFT would read another rank or alpha"):
        truncate(old, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_experts_share_one_rank(tmp_path: Path) -> None:
    old = adapter(tmp_path / "old", EXPERTS, target_parameters=["mlp.experts.down_proj"])
    found = truncate(old, tmp_path / "new", energy=0.6)
    (rank,) = {cut.rank for cut in found.layers}
    assert rank == 2
    rows = audit(tmp_path / "new").rows
    assert [r.size for r in rows] == [2] * 2 * EXPERTS


@pytest.mark.filterwarnings("ignore")
def test_the_audit_measures_what_peft_adds(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from tests.audit.test_lora import text

    kind, config = PEFT["rslora, patterns"]
    folder = peft_adapter(kind, tmp_path / "adapter", **config)
    model = text(kind).double()
    model.save_pretrained(tmp_path / "base")
    found = audit(folder, base=tmp_path / "base")
    layers = dict(peft.PeftModel.from_pretrained(model, folder).base_model.model.named_modules())
    assert len(found.products) == 4
    for product in found.products:
        module = layers[product.layer]
        delta = module.get_delta_weight("default").detach().numpy()
        s = np.linalg.svd(delta, compute_uv=False)
        assert product.norm == pytest.approx(np.linalg.norm(delta))
        assert product.largest == pytest.approx(s[0])
        p = s[s > 1e-12] / s.sum()
        assert product.effective == pytest.approx(np.exp(-np.sum(p * np.log(p))))
        weight = np.linalg.norm(module.base_layer.weight.detach().numpy())
        assert product.share == pytest.approx(product.norm / weight)


# ------------------------------------------------------------------------------- bad input


def refused(folder: Path, *options: str) -> str:
    out = folder.parent / "new"
    result = CliRunner().invoke(app, ["truncate", str(folder), "--out", str(out), *options])
    assert result.exit_code == 2, result.output
    assert not out.exists()
    assert not list(folder.parent.glob(".new*"))
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_bad_wishes(tmp_path: Path) -> None:
    old = low_rank(tmp_path / "old", {"a.x": 2})
    assert "energy must be in (0, 1], got 0.0" in refused(old, "--energy", "0")
    assert "got 1.5" in refused(old, "--energy", "1.5")
    assert "got nan" in refused(old, "--energy", "nan")
    assert "exclude each other" in refused(old, "--energy", ".9", "--rank", "2")
    with pytest.raises(CheckpointError, match=r"rank must be a positive integer, got 2\.5"):
        truncate(old, tmp_path / "new", rank=2.5)  # type: ignore[arg-type]
    (tmp_path / "there").mkdir()
    with pytest.raises(CheckpointError, match="there: exists already"):
        truncate(old, tmp_path / "there")


def test_what_is_no_adapter(tmp_path: Path) -> None:
    old = low_rank(tmp_path / "old", {"a.x": 2})
    file = old / "adapter_model.safetensors"
    assert "give the folder of an adapter" in refused(file)
    (old / "adapter_config.json").unlink()
    assert "with its adapter_config.json: ranks are written there" in refused(old)


@pytest.mark.parametrize(
    ("config", "why"),
    [({"lora_alpha": None}, "has no lora_alpha"),
     ({"init_lora_weights": "pissa_niter_4"}, "takes as much out of the base weights as the rank"),
     ({"init_lora_weights": "olora"}, "save it as plain LoRA first"),
     ({"a_new_idea": 2}, "may change what A and B do"),
     ({"peft_type": "LOHA"}, "no LoRA products to truncate"),
     ({"use_bdlora": {"nblocks": 2}}, "no LoRA products to truncate")],
)  # fmt: skip
def test_what_is_not_truncated(tmp_path: Path, config: dict[str, Any], why: str) -> None:
    assert why in refused(low_rank(tmp_path / "old", {"a.x": 2}, **config))


@pytest.mark.parametrize("energy", [0.6, 0.999])
def test_the_check_finds_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, energy: float
) -> None:
    """A and B put together wrongly, or what was cut counted wrongly: nothing is written."""
    from symbias.adapters import truncating as module

    old = low_rank(tmp_path / "old", {"a.x": 3})

    def turned(*args: Any) -> Any:
        arrays = true(*args)
        name = next(n for n in arrays if "lora_A" in n)
        return arrays | {name: -arrays[name]}

    true = module._arrays
    monkeypatch.setattr(module, "_arrays", turned)
    with pytest.raises(CheckpointError, match=r"its output would be off by .*nothing was written"):
        truncate(old, tmp_path / "new", energy=energy)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_stored_dtypes_stay(tmp_path: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file as save

    old = low_rank(tmp_path / "old", {"a.x": 2, "b.x": 3})
    arrays = load_file(old / "adapter_model.safetensors")
    kind = getattr(torch, dtype)
    tensors = {n: torch.tensor(a).to(kind) for n, a in arrays.items()}
    tensors["kept"] = torch.arange(3, dtype=torch.int64)
    save(tensors, old / "adapter_model.safetensors", {"format": "pt"})
    truncate(old, tmp_path / "new")
    new = load(tmp_path / "new" / "adapter_model.safetensors")
    assert {t.dtype for n, t in new.items() if n != "kept"} == {kind}
    assert new["kept"].tolist() == [0, 1, 2]
    for layer in ("a.x", "b.x"):

        def product(held: Any, layer: str = layer) -> Any:
            b, a = (held[f"{layer}.lora_{part}.weight"].double() for part in "BA")
            return b @ a * (12 / 6 if held is tensors else 4 / 2)

        off = (product(new) - product(tensors)).norm() / product(tensors).norm()
        assert off < np.sqrt(1e-3) + 4 * torch.finfo(kind).eps


def test_the_command_says_what_was_done(tmp_path: Path) -> None:
    old = low_rank(tmp_path / "old", {"a.x": 2, "b.x": 3})
    result = CliRunner().invoke(app, ["truncate", str(old), "--out", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "2 layers, rank 2 to 3 of 6: 432 numbers before, 180 after" in text
    assert text.endswith(f"Written: {tmp_path / 'new'}")
    shown = CliRunner().invoke(app, ["audit", str(old)], env={"COLUMNS": "200"}).stdout
    words = " ".join(shown.split())
    assert words.startswith("Of 2 products of old, 2 hold 99.9% of their energy in fewer ranks")
    assert "To do: truncate 2 of 2 adapted layers: rank 2 to 3 of 6 holds 99.9% of the" in words
    assert "252 numbers fewer (symbias truncate)." in words
