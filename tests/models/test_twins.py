"""Bonds found on shrunken twins: how they are read, lifted and confirmed."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from symbias.audit import CheckpointError, audit  # noqa: E402
from symbias.models import read_bonds  # noqa: E402
from symbias.models.twins import as_yaml, find_bonds  # noqa: E402
from symbias.models.twins.confirm import Function  # noqa: E402
from symbias.models.twins.found import claim_of  # noqa: E402
from symbias.models.twins.layouts import layout_of  # noqa: E402
from symbias.models.twins.lift import _likely, repeated  # noqa: E402
from symbias.models.twins.precision import in_double, restored, without_eps  # noqa: E402
from symbias.models.twins.repeats import groupings, instances, places  # noqa: E402
from symbias.models.twins.sizes import readings  # noqa: E402
from symbias.models.twins.statistics import open_statistics  # noqa: E402
from symbias.symmetry import (  # noqa: E402
    Bond,
    GeneralLinear,
    Rescaling,
    UniformScale,
    WeightedRescaling,
)

PATTERNS = {
    "heads side by side": list(range(12)),
    "packed, the second of three": [-1] * 6 + list(range(6)) + [-1] * 6,
    "values in every head's block": [-1, -1, 0, 1, -1, -1, 2, 3],
    "two query heads read one key head": [0, 1, 0, 1, 2, 3, 2, 3],
    "planes of two halves": [0, 2, 1, 3, 4, 6, 5, 7],
    "up of interleaved gate and up": [-1, 0, -1, 1, -1, 2],
}


@pytest.mark.parametrize("labels", PATTERNS.values(), ids=PATTERNS)
def test_a_layout_is_read_and_written(labels: list[int]) -> None:
    layout = layout_of(np.array(labels))
    assert layout is not None
    assert layout.labels().tolist() == labels
    assert layout.with_numbers(layout.length, layout.numbers) == layout


def test_labels_without_a_rule_have_no_layout() -> None:
    assert layout_of(np.array([0, 1, 3, 2, 4, 5])) is None
    assert layout_of(np.array([0, 0, 1])) is None


def test_layouts_that_overlap_do_not_fit() -> None:
    layout = layout_of(np.array(PATTERNS["two query heads read one key head"]))
    assert layout is not None
    assert layout.fits
    assert layout.covers
    narrow = (0, 2, 1, 2, 2, 2, 2)  # heads every two entries, copies of two entries beside them
    assert not layout.with_numbers(8, narrow).fits


def test_numbers_are_told_as_sizes() -> None:
    heads, size, width = (2, 3, 32), (4, 6, 128), (8, 18, 4096)
    sizes = [heads, size, width]
    assert readings((4, 6), sizes)[0] == 128
    assert readings((2, 3), sizes)[:2] == [32, 64]  # heads, or half of a head
    assert readings((8, 18), sizes)[0] == 4096
    assert readings((24, 54), sizes)[0] == 3 * 4096
    assert readings((1, 1), sizes)[0] == 1
    assert readings((5, 23), sizes) == []


TWIN = ["emb", "layers.0.q", "layers.0.norm", "layers.1.q", "head"]
FULL = ["emb", *(f"layers.{i}.q" for i in range(4)), "layers.0.norm", "layers.2.norm", "head"]


def test_layers_stand_for_layers_with_the_same_arrays() -> None:
    found = {p.name: p.twin for p in places(TWIN, FULL)}
    assert found["layers.2.q"] == "layers.0.q"
    assert found["layers.3.q"] == "layers.1.q"
    assert found["head"] == "head"
    assert len(found) == len(FULL)


def test_a_bond_inside_a_layer_repeats_and_one_beyond_spans() -> None:
    where = places(TWIN, FULL)
    assert instances(["layers.0.q", "layers.0.norm"], where) == [
        {"layers.0.q": ["layers.0.q"], "layers.0.norm": ["layers.0.norm"]},
        {"layers.0.q": ["layers.2.q"], "layers.0.norm": ["layers.2.norm"]},
    ]
    (whole,) = instances(["emb", "layers.0.q", "layers.1.q"], where)
    assert whole["layers.0.q"] == ["layers.0.q", "layers.2.q"]
    assert instances(["absent"], where) == []


DEEP = [*(f"layers.{i}.{x}" for i in range(3) for x in ("q", "norm")), "emb", "head"]
LARGE = [*(f"layers.{i}.{x}" for i in range(5) for x in ("q", "norm")), "emb", "head"]


def layers_of(arrays: list[str]) -> list[list[dict[str, list[str]]]]:
    return list(groupings(arrays, DEEP, LARGE))


def test_a_bond_from_one_layer_to_the_next_slides() -> None:
    slid, last = layers_of(["layers.0.norm", "layers.1.q"])
    assert slid == [
        {"layers.0.norm": [f"layers.{i}.norm"], "layers.1.q": [f"layers.{i + 1}.q"]}
        for i in range(4)
    ]
    assert last == slid[:1]  # as far from the first layer
    again, last = layers_of(["layers.1.norm", "layers.2.q"])
    assert [list(g.values()) for g in again] == [list(g.values()) for g in slid]
    assert last == again[-1:]  # as far from the last


def test_a_bond_at_an_end_stays_there_and_one_of_all_layers_spans() -> None:
    ((at_first,),) = layers_of(["emb", "layers.0.q"])
    assert at_first == {"emb": ["emb"], "layers.0.q": ["layers.0.q"]}
    ((at_last,),) = layers_of(["layers.2.norm", "head"])
    assert at_last["layers.2.norm"] == ["layers.4.norm"]
    ((whole,),) = layers_of(["emb", "layers.0.q", "layers.1.q", "layers.2.q"])
    assert whole["layers.1.q"] == [f"layers.{i}.q" for i in (1, 2, 3)]
    assert whole["layers.2.q"] == ["layers.4.q"]


def test_a_bond_is_repeated_at_its_own_sizes() -> None:
    labels = np.array([0, 1, 0, 1, -1])
    bond = Bond(Rescaling(2), [("layers.0.q", 0, labels)], [("layers.0.norm", 0)])
    groups = [{"layers.0.q": [f"layers.{i}.q"], "layers.0.norm": [f"layers.{i}.norm"]}
              for i in (1, 2)]  # fmt: skip
    made = repeated(bond, groups)
    assert [b.arrays for b in made] == [
        ("layers.1.q", "layers.1.norm"),
        ("layers.2.q", "layers.2.norm"),
    ]
    assert [list(b.vectors[0][2]) for b in made] == [labels.tolist()] * 2


def test_names_leave_out_what_all_arrays_share() -> None:
    bond = Bond(Rescaling(2), [("m.layers.0.v.weight", 0), ("m.layers.0.v.bias", 0)],
                [("m.layers.0.o.weight", 1)])  # fmt: skip
    assert claim_of(bond).bond.name == "m.layers.0: v + v.bias | o"
    assert claim_of(Bond(Rescaling(2), [("a.weight", 0)])).bond.name == "a"
    many = Bond(UniformScale(), [(f"m.layers.{k}.out.weight", None) for k in range(20)])
    assert claim_of(many).bond.name == "m.layers: 20 arrays, 0.out to 19.out"


class Norm(nn.Module):
    """An RMSNorm that computes in float32, as those of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.variance_epsilon = 1e-6

    def forward(self, x: Any) -> Any:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return wide.to(x.dtype)


def test_a_norm_in_float32_is_scale_invariant_in_double_without_eps() -> None:
    x, norm = torch.randn(3, 5, generator=torch.manual_seed(0), dtype=torch.float64), Norm()
    with restored(norm, without_eps(norm)), in_double():
        assert float((norm(3 * x) - norm(x)).abs().max()) < 1e-15
    assert norm.variance_epsilon == 1e-6
    assert float((norm(3 * x) - norm(x)).abs().max()) > 1e-8


def convolved(width: int) -> nn.Module:
    """A convolution, a batch norm and ReLU, and what reads them."""
    torch.manual_seed(width)
    norm = nn.BatchNorm2d(width)
    norm.running_mean.normal_()  # type: ignore[union-attr]
    norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    parts = (nn.Conv2d(3, width, 2), norm, nn.ReLU(), nn.Flatten(), nn.Linear(4 * width, 2))
    return nn.Sequential(*parts).double().eval()


def images(module: nn.Module) -> Any:
    random = torch.Generator().manual_seed(2)
    return module(torch.randn(30, 3, 3, 3, generator=random, dtype=torch.float64))


def test_statistics_are_parameters_for_a_while() -> None:
    module = convolved(4)
    here = images(module)
    with open_statistics(module):
        assert {"1.running_mean", "1.running_var"} < {n for n, _ in module.named_parameters()}
        assert float((images(module) - here).detach().abs().max()) < 1e-14
        slope = torch.autograd.grad(images(module).sum(), module[1].running_var)[0]  # type: ignore[index]
        assert float(slope.abs().max()) > 1e-6
    assert {n for n, _ in module.named_buffers()} > {"1.running_mean", "1.running_var"}
    assert torch.equal(images(module), here)


def ends(bond: Bond) -> set[tuple[str, bool]]:
    return {(end.name, end.dual) for end in bond.ends}


def test_statistics_of_a_batch_norm_move_with_what_it_reads() -> None:
    """Filters and means by a factor, gains by its inverse; gains and variances without eps only."""
    found = find_bonds(convolved(9), images, factory=lambda k: convolved(4 + 2 * k))
    assert found.complete
    units, filters, shift = found.claims
    assert ends(units.bond) == {("1.weight", False), ("1.bias", False), ("4.weight", True)}
    assert ends(filters.bond) == {
        ("0.weight", False), ("0.bias", False), ("1.running_mean", False), ("1.weight", True),
    }  # fmt: skip
    assert (shift.kind, set(shift.bond.arrays)) == ("dead", {"0.bias", "1.running_mean"})
    (variances,) = found.approximate
    bond = variances.claim.bond
    assert bond.group == WeightedRescaling(9, (1, 2))
    assert [end.name for end in bond.ends] == ["1.weight", "1.running_var"]
    assert 1e-7 < variances.size < 1e-4  # of eps = 1e-5


def two_layers(width: int, units: int, activation: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(width, units), activation, nn.Linear(units, 3)).double()


def out(module: nn.Module) -> Any:
    size = module[0].weight.shape[1]  # type: ignore[union-attr,index]
    x = torch.randn(20, size, generator=torch.manual_seed(1), dtype=torch.float64)
    return module(x)


def test_units_of_relu_are_found_and_lifted() -> None:
    full = two_layers(30, 50, nn.ReLU())
    found = find_bonds(full, out, factory=lambda k: two_layers(3 + k, 4 + 2 * k, nn.ReLU()))
    assert found.complete
    (claim,) = found.claims
    assert claim.bond.group == Rescaling(50)
    assert {(e.name, e.axis, e.dual) for e in claim.bond.ends} == {
        ("0.weight", 0, False), ("0.bias", 0, False), ("2.weight", 1, True),
    }  # fmt: skip
    assert [account.directions for account in found.accounts] == [4, 6]


def test_nothing_is_claimed_where_nothing_is() -> None:
    full = two_layers(30, 50, nn.GELU())
    found = find_bonds(full, out, factory=lambda k: two_layers(3 + k, 4 + 2 * k, nn.GELU()))
    assert found.complete
    assert found.claims == []


def test_a_wrong_lift_moves_the_function() -> None:
    """One axis swapped: the model's own function tells."""
    full = two_layers(50, 50, nn.ReLU())
    function = Function(full, out)
    right = Bond(Rescaling(50), [("0.weight", 0), ("0.bias", 0)], [("2.weight", 1)])
    wrong = Bond(Rescaling(50), [("0.weight", 1), ("0.bias", 0)], [("2.weight", 1)])
    assert function.keeps([right])
    assert not function.keeps([wrong])
    assert not function.keeps([Bond(GeneralLinear(50), right.vectors, right.covectors)])


def test_twins_that_differ_from_the_model_confirm_nothing() -> None:
    """The twins have ReLU, the model GELU: what holds of twins is not claimed of the model."""
    full = two_layers(30, 50, nn.GELU())
    found = find_bonds(full, out, factory=lambda k: two_layers(3 + k, 4 + 2 * k, nn.ReLU()))
    assert found.claims == []
    assert list(found.unconfirmed.values()) == [
        "none of 1 readings at full size keeps the model's output"
    ]
    assert not found.complete


def test_sizes_that_fail_are_passed_over() -> None:
    def factory(k: int) -> nn.Module:
        if k < 2:
            raise ValueError(f"{k} is too small")
        return two_layers(3 + k, 4 + 2 * k, nn.ReLU())

    assert len(find_bonds(two_layers(9, 9, nn.ReLU()), out, factory=factory).claims) == 1

    def hopeless(k: int) -> nn.Module:
        raise ValueError(f"size {k} is odd")

    with pytest.raises(CheckpointError, match=r"no two small twins .* size 3 is odd"):
        find_bonds(two_layers(9, 9, nn.ReLU()), out, factory=hopeless)


def test_what_cannot_be_searched_is_named() -> None:
    with pytest.raises(TypeError, match=r"model\.double\(\)"):
        find_bonds(nn.Linear(2, 2), out, factory=lambda k: nn.Linear(2, 2))
    with pytest.raises(TypeError, match="no config that could be shrunk"):
        find_bonds(nn.Linear(2, 2).double())
    with pytest.raises(TypeError, match="run is needed"):
        find_bonds(nn.Linear(2, 2).double(), factory=lambda k: nn.Linear(2, 2))


def test_found_bonds_are_written_and_audited(tmp_path: Path) -> None:
    full = two_layers(30, 50, nn.ReLU())
    found = find_bonds(full, out, factory=lambda k: two_layers(3 + k, 4 + 2 * k, nn.ReLU()))
    file = tmp_path / "bonds.yaml"
    file.write_text(as_yaml(found.claims))
    again = read_bonds(file)
    assert [c.bond.ends for c in again] != []
    arrays = {name: p.detach().numpy() for name, p in full.named_parameters()}
    ours, theirs = (audit(arrays, bonds=claims).rows for claims in (found.claims, again))
    assert [r.log_volume for r in ours] == [r.log_volume for r in theirs]
    assert ours[0].dimension == 50


def test_likely_readings_come_first_and_none_is_made_before_its_turn() -> None:
    assert list(_likely([[1, 2], [3, 4]])) == [(1, 3), (1, 4), (2, 3), (2, 4)]
    assert list(_likely([])) == [()]
    assert list(_likely([[1], []])) == []
    many = [list(range(10_000))] * 8
    assert list(islice(_likely(many), 2)) == [(0,) * 8, (*[0] * 7, 1)]
