"""What an audit says one would do: right numbers, the worst head by name, nothing where nothing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

import symbias as sb
from symbias.audit import audit
from symbias.audit.advice import advice, steps, tasks
from symbias.audit.measure import Row, rank_of
from symbias.cli import app

HEADS, WIDTH = 4, 32


def bert(folder: Path, change: Any = None) -> Path:
    """Three layers of four balanced heads of 8 dimensions; ``change`` may spoil some."""
    rng = np.random.default_rng(0)
    arrays = {}
    for layer in range(3):
        base = f"encoder.layer.{layer}.attention"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            q, _ = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))
            arrays[f"{base}.{part}.weight"] = np.ascontiguousarray(q)
    if change:
        change(arrays)
    folder.mkdir()
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert", "num_attention_heads": 4}')
    return folder


def said(folder: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["audit", str(folder), *options], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def zero_a_head(arrays: dict[str, np.ndarray]) -> None:
    arrays["encoder.layer.1.attention.output.dense.weight"][:, 16:24] = 0


def test_a_dead_head_is_named_and_what_it_takes(tmp_path: Path) -> None:
    folder = bert(tmp_path / "m", zero_a_head)
    text = said(folder)
    # each dimension of the values is a row of V and a column of O
    assert "To do: remove 1 of 12 vo: 8 dimensions carry nothing, at least 512 numbers" in text
    assert "fewer without (layer 1 values, head 2: 8 of 8) (symbias.torch.shrink" in text
    assert "23 bonds need nothing." in text
    rows = json.loads(said(folder, "--json"))["bonds"]
    assert [r["advice"] for r in rows if r["advice"]] == [
        "remove: 8 of 8 dimensions carry nothing, at least 512 numbers fewer without them (100%)"
    ]


def test_a_part_of_a_head_is_named_but_cannot_be_cut(tmp_path: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["encoder.layer.1.attention.output.dense.weight"][:, 16:18] = 0
        arrays["encoder.layer.0.attention.self.query.weight"][8:16] = 0

    text = said(bert(tmp_path / "m", change))
    assert "look at 1 of 12 vo: 2 dimensions carry nothing (layer 1 values, head 2: 2 of 8)" in text
    assert "look at 1 of 12 qk: 8 dimensions carry nothing (layer 0 logits, head 1: 8 of 8)" in text
    assert "no part of one head can be cut (it may be yet to train)." in text
    assert "remove" not in text


def test_nothing_to_do_is_not_talked_about(tmp_path: Path) -> None:
    text = said(bert(tmp_path / "m"))
    assert "To do" not in text
    assert "need nothing" not in text


def unbalance_one_head(arrays: dict[str, np.ndarray]) -> None:
    arrays["encoder.layer.2.attention.self.query.weight"][8:16] *= 2


def test_the_worst_head_is_named_though_the_median_hides_it(tmp_path: Path) -> None:
    folder = bert(tmp_path / "m", unbalance_one_head)
    text = said(folder)
    assert re.search(r"qk GeneralLinear\(8\) 12 0\.000 0\.600 0\.963 0 layer 2 logits", text)
    assert "To do: balance 1 of 12 qk: the worst is layer 2 logits, head 1: imbalance 0.6" in text
    assert "gradient steps of the two sides differ 4-fold, 20% less squared norm" in text
    assert audit(folder).summary()["worst"] == "layer 2 logits, head 1"


def test_gradient_steps_differ_as_the_imbalance_says() -> None:
    """Relative steps, |dX|/|X| to |dY|/|Y|, for random gradients of the product X^T Y."""
    rng = np.random.default_rng(1)
    for ratio in (0.3, 1.0, 5.0):
        x, y = (np.linalg.qr(rng.standard_normal((400, 6)))[0].T for _ in range(2))
        y = np.sqrt(ratio) * y
        bond = sb.Bond(sb.GeneralLinear(6), [("x", 0)], [("y", 0)], name="b")
        row = audit({"x": x, "y": y}, bonds=[bond]).rows[0]
        sizes = []
        for _ in range(20):
            g = rng.standard_normal((400, 400))
            sizes.append([np.linalg.norm(y @ g.T) / np.linalg.norm(x),
                          np.linalg.norm(x @ g) / np.linalg.norm(y)])  # fmt: skip
        dx, dy = np.mean(sizes, axis=0)
        assert steps(row) == pytest.approx(max(dx / dy, dy / dx), rel=0.05)


def row(**fields: Any) -> Row:
    plain: dict[str, Any] = {
        "bond": "b", "kind": "k", "layer": None, "head": None, "group": "GeneralLinear(4)",
        "dimension": 16, "log_volume": 0.0, "imbalance": 0.0, "norm": 1.0, "least_norm": 1.0,
        "stabilizers": 0, "dead": 0, "condition": 1.0, "rank": 4, "size": 4, "numbers": 10.0,
        "movable": True,
    }  # fmt: skip
    return Row(**plain | fields)


def test_what_can_not_be_done_is_not_advised() -> None:
    assert advice(row()) == ""
    assert advice(row(rank=2)) == ""  # a head cannot be stored at another rank
    assert advice(row(rank=2, truncatable=True)).startswith("truncate: rank 2 of 4 holds 99.9%")
    assert advice(row(rank=0, thin=True, truncatable=True, dead=4)) == ""  # yet to train
    assert advice(row(imbalance=0.9, movable=False)) == ""
    assert advice(row(imbalance=0.9, dead=1)).startswith("remove")
    assert "balance" not in advice(row(imbalance=0.9, dead=1))  # balancing leaves it as it is
    assert advice(row(imbalance=0.29, least_norm=0.91)) == ""
    assert "9% less" in advice(row(imbalance=0.31, least_norm=1 / 1.1))
    assert advice(row(imbalance=0.1, least_norm=0.89)).startswith("balance")
    assert "inf-fold" in advice(row(imbalance=1.0))


def test_the_rank_is_the_least_that_holds_the_energy() -> None:
    values = np.array([[3.0, 1.0, 0.1, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert rank_of(values, 0.999).tolist() == [2, 4, 0]
    assert rank_of(values, 0.89).tolist() == [1, 4, 0]
    assert rank_of(values, 1.0).tolist() == [3, 4, 0]
    for kept in np.linspace(0.01, 0.99, 23):
        k = int(rank_of(values[:1], kept)[0])
        squares = values[0] ** 2
        assert squares[:k].sum() >= kept * squares.sum() > squares[: k - 1].sum()


def test_tasks_name_the_largest_gain_first() -> None:
    rows = [row(bond="a", dead=1), row(bond="b", dead=3), row(bond="c", dead=2, numbers=99.0)]
    (task,) = tasks([*rows, row()])
    assert [r.bond for r in task.rows] == ["c", "b", "a"]
    assert (task.verb, task.among) == ("remove", 4)
    assert task.what.startswith(
        "6 dimensions carry nothing, at least 238 numbers fewer without (c: 2"
    )


def test_ranks_of_several_layers() -> None:
    (task,) = tasks([row(rank=n, thin=True, truncatable=True) for n in (0, 1, 2, 4)])
    assert "rank 1 to 2 of 4 holds 99.9% of the energy, 50 numbers fewer" in task.what
    assert (len(task.rows), task.among, task.kind) == (2, 4, "adapted layers")


def test_numbers_of_a_packed_axis_are_those_of_the_bond() -> None:
    arrays = {"packed": np.ones((6, 5)), "k": np.ones((3, 7))}
    labels = [-1, -1, -1, 0, 1, 2]
    bond = sb.Bond(sb.Rescaling(3), [("packed", 0, labels)], [("k", 0)], name="b")
    assert audit(arrays, bonds=[bond]).rows[0].numbers == 12.0


def test_numbers_of_shared_keys_count_all_their_queries() -> None:
    """Two query heads of 4 share a key head: a dimension is two rows of Q and one of K."""
    arrays = {"q": np.ones((2 * 2 * 4, 7)), "k": np.ones((2 * 4, 7))}
    bond = sb.Bond(sb.GeneralLinear(4), [("q", 0)], [("k", 0)], heads=2, name="qk")
    assert [r.numbers for r in audit(arrays, bonds=[bond]).rows] == [21.0, 21.0]


@pytest.mark.parametrize(
    "config",
    [{"init_lora_weights": "pissa"}, {"target_parameters": ["mlp.experts.down_proj"]},
     {"lora_alpha": 0}, {"a_new_idea": 2}],
)  # fmt: skip
def test_truncation_is_advised_where_the_command_would_do_it(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    from tests.audit.test_lora import RANK

    rng = np.random.default_rng(0)
    low = np.outer(rng.standard_normal(16), rng.standard_normal(RANK))
    arrays = {"a.x.lora_A.weight": rng.standard_normal((RANK, 20)), "a.x.lora_B.weight": low}
    (tmp_path / "m").mkdir()
    save_file(arrays, tmp_path / "m" / "adapter_model.safetensors")
    plain = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8}
    for extra in ({}, config):
        (tmp_path / "m" / "adapter_config.json").write_text(json.dumps(plain | extra))
        rows = json.loads(said(tmp_path / "m", "--json"))["bonds"]
        assert ("truncate" in rows[0]["advice"]) is (extra == {})
