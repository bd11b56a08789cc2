"""Steepest steps: the direction of norm 1 that falls most, by definition; refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import symbias as sb
from symbias._core.norms import NORMS

RNG = np.random.default_rng(0)
GRADS = {"a": RNG.normal(size=(3, 4)), "b": RNG.normal(size=(2, 2))}
NORM = {
    "l1": lambda d: sum(np.abs(a).sum() for a in d.values()),
    "l2": lambda d: np.sqrt(sum((a**2).sum() for a in d.values())),
    "linf": lambda d: max(np.abs(a).max() for a in d.values()),
    "spectral": lambda d: max(np.linalg.norm(a, 2) for a in d.values()),
}
DUAL = {
    "l1": NORM["linf"],
    "l2": NORM["l2"],
    "linf": NORM["l1"],
    "spectral": lambda d: sum(np.linalg.norm(a, "nuc") for a in d.values()),
}


@pytest.mark.parametrize("norm", NORMS)
def test_steps_have_norm_one_and_fall_by_the_dual_norm(norm: str) -> None:
    with jax.enable_x64(True):
        rule = sb.steepest_descent(norm, 0.5)
        grads = {k: jnp.asarray(g) for k, g in GRADS.items()}
        state = rule.init(grads)
        for t in (1, 2, 3):
            step, state = rule.update(grads, state)
            d = {k: -np.asarray(s) * np.sqrt(t) / 0.5 for k, s in step.items()}
            assert NORM[norm](d) == pytest.approx(1)
            fall = sum(np.sum(d[k] * GRADS[k]) for k in d)
            assert fall == pytest.approx(DUAL[norm](GRADS))


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_gradient_of_zero_moves_nothing(norm: str) -> None:
    rule, zero = sb.steepest_descent(norm), {"a": jnp.zeros(3)}
    step, _ = rule.update(zero, rule.init(zero))
    np.testing.assert_array_equal(step["a"], 0)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="norm must be one of l1, l2, linf, spectral"):
        sb.steepest_descent("l3")
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        sb.steepest_descent("l1", 0.0)
    with pytest.raises(ValueError, match="spectral steps are of matrices: take l2"):
        sb.steepest_descent("spectral").init({"a": jnp.zeros(3)})
