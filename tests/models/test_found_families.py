"""Discovery beside the readers of families: what a reader claims is found, and nothing wrong is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

from typer.testing import CliRunner  # noqa: E402

from symbias.audit import open_checkpoint  # noqa: E402
from symbias.audit.reading import reading_of  # noqa: E402
from symbias.cli import app  # noqa: E402
from symbias.models.twins import find_bonds  # noqa: E402
from symbias.models.twins.shrink import shrunken  # noqa: E402
from symbias.symmetry import Bond  # noqa: E402
from symbias.symmetry.generators import generator_matrix  # noqa: E402

TEXT: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 48, "intermediate_size": 40, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 32,
}  # fmt: skip


def randomised(model: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * max(value.shape) ** -0.5 + (value.ndim == 1))
    return model.double().eval()


def rank(bonds: list[Bond], arrays: dict[str, Any]) -> int:
    held = {name: arrays[name] for bond in bonds for name in bond.arrays}
    return int(np.linalg.matrix_rank(generator_matrix(np, bonds, held), tol=1e-9))


def test_what_the_reader_of_llama_claims_is_found(tmp_path: Path) -> None:
    config = tf.LlamaConfig(
        **TEXT, num_key_value_heads=2, head_dim=10, tie_word_embeddings=False, rms_norm_eps=1e-5
    )
    model = randomised(tf.LlamaForCausalLM(config))
    model.save_pretrained(tmp_path)
    written = [c.bond for c in reading_of(open_checkpoint(tmp_path), None).claims]
    found = find_bonds(model)
    assert found.complete
    assert [account.unnamed for account in found.accounts] == [0, 0, 0]
    ours = [claim.bond for claim in found.claims]
    arrays = {name: p.detach().numpy() for name, p in model.named_parameters()}
    for bond in written:
        near = [b for b in ours if set(b.arrays) & set(bond.arrays)]
        assert rank([*near, bond], arrays) == rank(near, arrays), bond.name
    assert sum(b.dim for b in ours) == sum(b.dim for b in written)
    (stream,) = found.approximate  # of the embedding and all that writes: norms remove it
    assert 1e-7 < stream.size < 1e-2


def test_scales_between_layers_are_found_on_a_deep_twin() -> None:
    """BERT of five layers: from every norm that ends a layer to the next, four, and the first."""
    model = randomised(tf.BertModel(tf.BertConfig(**TEXT | {"num_hidden_layers": 5})))
    found = find_bonds(model)
    assert found.complete
    assert [account.unnamed for account in found.accounts] == [0, 0, 0]
    between = [
        names
        for claim in found.claims
        if len(names := {n.split(".")[2] for n in claim.bond.arrays if ".layer." in n}) == 2
    ]
    assert sorted(map(sorted, between)) == [["0", "1"], ["1", "2"], ["2", "3"], ["3", "4"]]
    ends = [c.bond for c in found.claims if "embeddings.LayerNorm.weight" in c.bond.arrays]
    assert len(ends) == 1


def test_a_family_without_a_reader(tmp_path: Path) -> None:
    """OLMo 2: norms behind each block, and of all queries and keys together."""
    model = randomised(tf.Olmo2ForCausalLM(tf.Olmo2Config(**TEXT)))
    model.save_pretrained(tmp_path / "model")
    out = tmp_path / "out"
    asked = ["audit", str(tmp_path / "model"), "--discover", "--out", str(out), "--quiet"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    again = ["audit", str(tmp_path / "model"), "--bonds", str(out / "bonds.yaml"), "--csv"]
    result = CliRunner().invoke(app, again)
    assert result.exit_code == 0, result.output
    names = [line.split(",")[0] for line in result.output.splitlines()[1:]]
    assert (
        len(names) == 3 * (4 + 1 + 1) + 1
    )  # four heads of values, gains of q and k, units; a gain


def test_codes_of_their_own_are_not_run(tmp_path: Path) -> None:
    config = tf.Olmo2Config(**TEXT)
    tf.Olmo2ForCausalLM(config).save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        text.replace("{", '{"auto_map": {"AutoModel": "x.Y"},', 1)
    )
    result = CliRunner().invoke(app, ["audit", str(tmp_path), "--discover"])
    assert result.exit_code == 2
    assert "code of its own, which is not run" in result.output


@pytest.mark.parametrize("twin", [0, 1])
def test_a_twin_shares_what_the_model_shares(twin: int) -> None:
    config = tf.LlamaConfig(**TEXT, num_key_value_heads=2, tie_word_embeddings=True)
    small = shrunken(config, twin, layers=1)
    assert small.num_attention_heads == 2 * small.num_key_value_heads
    assert small.tie_word_embeddings
    assert small.num_hidden_layers == 1
    alone = shrunken(tf.FalconConfig(), twin, layers=1)
    assert alone.multi_query
    assert alone.hidden_size % alone.num_attention_heads == 0
