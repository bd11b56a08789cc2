"""Factors in files of transformers are not read again, which is said when they are saved."""

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

import symbias.torch as st
from tests.torch import networks


def bert() -> Any:
    torch.manual_seed(0)
    config = hf.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8,
        **networks.TOKENS,
    )  # fmt: skip
    return hf.BertModel(config)


def warned(call: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    mine = [w for w in caught if w.category is st.NotLoadable]
    assert all(w.filename == __file__ for w in mine)
    return [str(w.message) for w in mine]


@pytest.mark.parametrize(
    "way", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_saving_factors_is_loud_and_saving_weights_is_not(way: Any, tmp_path: Path) -> None:
    model = bert()
    st.apply_matching(model, "*.intermediate.dense.weight", st.slices(0))
    model = way(model)
    (message,) = warned(lambda: model.save_pretrained(tmp_path))
    assert "factors of 'encoder.layer.0.intermediate.dense.weight'" in message
    assert warned(model.state_dict) == []
    assert warned(lambda: copy.deepcopy(model).load_state_dict(model.state_dict())) == []
    plain = copy.deepcopy(model)  # what it says to do
    st.collapse(plain)
    assert warned(lambda: plain.save_pretrained(tmp_path / "plain")) == []
    loaded = hf.BertModel.from_pretrained(tmp_path / "plain").state_dict()
    torch.testing.assert_close(loaded, plain.state_dict())
    st.collapse(model)
    assert warned(lambda: model.save_pretrained(tmp_path / "plain")) == []


def test_what_is_said_is_so(tmp_path: Path) -> None:
    """The designed weight of such a file is not the one that was saved; others are."""
    model = bert()
    name = "encoder.layer.0.intermediate.dense.weight"
    st.apply(model, name, "l1")
    with pytest.warns(st.NotLoadable):
        model.save_pretrained(tmp_path)
    loaded, saved = hf.BertModel.from_pretrained(tmp_path), model
    assert not torch.allclose(
        loaded.get_parameter(name), saved.encoder.layer[0].intermediate.dense.weight
    )
    other = "encoder.layer.1.intermediate.dense.weight"
    torch.testing.assert_close(loaded.get_parameter(other), saved.get_parameter(other))


def test_any_save_pretrained_is_meant() -> None:
    class Mixin(nn.Sequential):
        def save_pretrained(self) -> Any:
            return dict(self.state_dict())

    model = Mixin(nn.Linear(3, 2))
    assert warned(model.save_pretrained) == []
    st.apply(model, "0.weight", "l1")
    assert len(warned(model.save_pretrained)) == 1
