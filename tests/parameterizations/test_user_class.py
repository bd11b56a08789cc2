"""Classes that a user writes: the library balances what they do not, and answers for all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from symbias.symmetry import Bond, Rescaling, Symmetry

W = np.array([1.0, -2.0, 1.0])


class Unbalanced(sb.Parameterization):
    """w = a b, whose section has a = 2."""

    def __init__(self, size: int = 3) -> None:
        self.shape = (size,)

    @property
    def shapes(self):
        return {"a": self.shape, "b": self.shape}

    @property
    def symmetry(self):
        group = Rescaling(self.shape[0])
        return Symmetry([Bond(group, vectors=[("a", 0)], covectors=[("b", 0)], name="ab")])

    def _effective(self, params):
        return params["a"] * params["b"]

    def _section(self, w, charge):
        return {"a": 0 * w + 2.0, "b": w / 2}


class NoSymmetryStated(Unbalanced):
    @property
    def symmetry(self):
        return Symmetry([])


class Promised(Unbalanced):
    balanced_section = True

    def _section(self, w, charge):
        root = abs(w) ** 0.5
        return {"a": root, "b": w / (root + (root == 0))}


class WithLevel(Unbalanced):
    """w = level + a b; the level does not decay, so |a b| is least around a median of w."""

    free = frozenset({"level"})

    @property
    def shapes(self):
        return super().shapes | {"level": (1,)}

    def _effective(self, params):
        return params["level"] + params["a"] * params["b"]

    def _section(self, w, charge):
        return super()._section(w, charge) | {"level": 0 * w[:1]}


class Wrong(Unbalanced):
    def _section(self, w, charge):
        return {"a": 0 * w + 2.0, "b": w}


@pytest.mark.parametrize("kind", [Unbalanced, NoSymmetryStated, Promised])
def test_the_penalty_is_the_least_norm(kind) -> None:
    p = kind()
    assert float(sb.WeightDecay(1.0).induced(p)(W)) == pytest.approx(4.0, rel=1e-8)  # 6.0 as given
    noise = sb.LabelNoise(1.0, 1.0, 1)
    assert float(noise.induced(p)(W)) == pytest.approx(2.0, rel=1e-6)
    behind = sb.Linked(p, sb.PowerLink(2.0))
    assert float(sb.WeightDecay(1.0).induced(behind)(W)) == pytest.approx(2 + 2**0.5, rel=1e-8)


def test_free_factors_do_not_decay() -> None:
    """sum |w_i - level| is least at the median 1: |-2 - 1| = 3."""
    w = np.array([1.0, -2.0, 1.5])
    value = float(sb.WeightDecay(1.0).induced(WithLevel())(w))
    assert value == pytest.approx(3.5, rel=1e-6)


def test_a_section_is_balanced_and_one_with_a_charge_is_its_own() -> None:
    p = Unbalanced()
    theta = p.section(W)
    np.testing.assert_allclose(p(theta), W)
    np.testing.assert_allclose(theta["a"] ** 2, theta["b"] ** 2, rtol=1e-9)
    np.testing.assert_allclose(p.section(W, charge=1.0)["a"], 2.0)
    with jax.enable_x64(True):
        traced = jax.jit(p.section)(jnp.asarray(W))
        np.testing.assert_allclose(traced["a"], theta["a"], rtol=1e-9)


def test_the_derivative_of_a_penalty_over_the_orbit() -> None:
    p = Unbalanced()
    with jax.enable_x64(True):
        slope = jax.grad(lambda w: sb.WeightDecay(0.5).induced(p)(w))(jnp.asarray(W))
    np.testing.assert_allclose(slope, 0.5 * np.sign(W), rtol=1e-9)


@pytest.mark.slow
def test_a_law_takes_the_balanced_section() -> None:
    """|w|^(-1/2), as for the product whose section is balanced."""
    flat = [sb.Langevin(1.0).induced(p)(W) for p in (Unbalanced(), sb.Hadamard(3))]
    ones = [sb.Langevin(1.0).induced(p)(np.ones(3)) for p in (Unbalanced(), sb.Hadamard(3))]
    assert flat[0] - ones[0] == pytest.approx(flat[1] - ones[1], abs=1e-9)
    assert flat[0] - ones[0] == pytest.approx(np.log(2) / 2, abs=1e-9)


def test_a_section_of_another_w_is_refused() -> None:
    with pytest.raises(ValueError, match="factors of another w, 2 from it"):
        Wrong().section(W)


def test_what_is_too_large_for_numbers_is_refused_with_the_remedy() -> None:
    with pytest.raises(sb.Refused, match="balanced_section = True"):
        sb.WeightDecay(1.0).induced(NoSymmetryStated(400))(np.ones(400))


@pytest.mark.parametrize("size", [3, 1])
def test_the_card_of_a_class_has_the_mechanisms_of_its_product(size: int) -> None:
    rows = {r.mechanism: r for r in sb.card(Unbalanced(size)).rows}
    w = np.linspace(0.5, -1.0, size)
    assert rows["weight decay"].value(w) == pytest.approx(np.abs(w).sum())
    assert rows["label noise"].value(w) == pytest.approx(np.abs(w).sum() / 2)
    assert isinstance(rows["gradient flow"].value, sb.Potential)
    assert rows["Langevin, against dw"].value is not None
