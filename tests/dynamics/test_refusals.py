"""What is wrong with a problem or a call, said before a run begins."""

import random
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import symbias as sb
from symbias.dynamics import Optax

X = np.random.default_rng(0).normal(size=(6, 2))
STATE = np.random.default_rng(1)
ZEROS = {"w": np.zeros(2)}


def predict(params: Any, x: Any) -> Any:
    return (x * params["w"]).sum(-1)


def sampler(key: Any, size: int) -> Any:
    return jax.random.normal(key, (size, 2)), jnp.ones(size)


def problem(**options: Any) -> sb.Problem:
    return sb.Problem(**{"predict": predict, "params": ZEROS, "sampler": sampler} | options)


def run(of: sb.Problem, rule: Any = None, **options: Any) -> sb.Run:
    options = {"steps": 20, "progress": False} | options
    return sb.simulate(of, rule or sb.SGD(0.1, 4), **options)


def noise(*shape: int) -> np.ndarray:
    return STATE.normal(size=shape)


@pytest.mark.parametrize(
    ("named", "of", "options"),
    [
        ("sampler", {"sampler": lambda k, n: (noise(n, 2), noise(n))}, {}),
        ("sampler", {"sampler": lambda k, n: (jax.random.normal(k, (n, 2)), noise(n))}, {}),
        ("sampler", {"sampler": lambda k, n: (jnp.full((n, 2), random.random()), jnp.ones(n))}, {}),
        ("predict or loss", {"predict": lambda p, x: predict(p, x) + noise(len(x))}, {}),
        ("predict or loss", {"loss": lambda f, y: ((f - y) ** 2).sum() * random.random()}, {}),
        ("params", {"params": lambda key: {"w": jnp.asarray(noise(2))}}, {}),
        ("observable 'w'", {}, {"observe": {"w": lambda p: p["w"] + noise(2)}}),
    ],
)
def test_random_functions_are_refused(named: str, of: Any, options: Any, tmp_path: Path) -> None:
    """Traced, they would be one draw held for the whole run."""
    with pytest.raises(ValueError, match=f"^{named} is random: two calls"):
        run(problem(**of), path=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_sampler_that_does_not_use_its_key_is_told_of_data() -> None:
    fixed = (jnp.asarray(X), jnp.ones(6))
    once = np.random.default_rng(3)
    constants = jax.jit(lambda n: jnp.asarray(once.normal(size=(4, 2))), static_argnums=0)
    for of in (lambda k, n: (X[:n], np.ones(n)), lambda k, n: (constants(n), jnp.ones(n))):
        with pytest.raises(ValueError, match=r"same samples for every key.* data=\(x, y\)"):
            run(problem(sampler=of))
    run(problem(sampler=None, data=fixed))


def test_a_fixed_design_with_drawn_labels_is_a_sampler() -> None:
    """Mean labels X w: from a frozen batch the replicas would all end at one and the same w."""
    design = np.array([[1.0, 0.0], [0.0, 1.0]])

    def labels(key: Any, size: int) -> Any:
        return design[:size], 1 + jax.random.normal(key, (size,))

    ends = run(problem(sampler=labels), sb.SGD(0.1, 2), steps=400, replicas=200).final["w"]
    # w_j <- w_j + (y - w_j) / 20: variance 1/39; 6 standard errors of 400 ends in all
    assert abs(ends.mean() - 1) < 6 / np.sqrt(39 * 400)
    assert abs(ends.var() * 39 - 1) < 6 * np.sqrt(2 / 400)


@pytest.mark.parametrize("wrong", [(1, 0), (0, 1), (-1, -1)])
def test_the_number_of_samples_is_held(wrong: tuple[int, int]) -> None:
    def of(key: Any, n: int) -> Any:
        x = jax.random.normal(key, (n + wrong[0], 2))
        return x, jax.random.normal(key, (n + wrong[1],))

    with pytest.raises(ValueError, match="asked for 4 samples and gave an array of shape"):
        run(problem(sampler=of))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"params": {"w": np.full(2, np.nan)}}, r"params\['w'\] has 2 of 2 values that are not f"),
        ({"params": {"w": jnp.array([0.0, jnp.inf])}}, r"params\['w'\] has 1 of 2"),
        ({"sampler": None, "data": (X * np.nan, X[:, 0])}, "data: x has 12 of 12 values"),
        ({"sampler": None, "data": (X, np.full(6, -np.inf))}, "data: y has 6 of 6"),
        ({"symmetry": sb.Symmetry([sb.Bond(sb.Rescaling(3), [("w", 0)], [])])}, "needs 3"),
    ],
)
def test_a_problem_is_checked_where_it_is_made(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        problem(**options)


def test_torch_parameters_are_named() -> None:
    with pytest.raises(TypeError, match=r"params\['w'\] is a torch tensor: give NumPy or JAX"):
        problem(params={"w": torch.zeros(2)})


def test_a_symmetry_of_drawn_parameters_is_checked_too() -> None:
    bond = sb.Bond(sb.Rescaling(3), [("w", 0)], [])
    with pytest.raises(ValueError, match=r"'w' of shape \(2,\) has 2 entries .*; .* needs 3"):
        run(problem(params=lambda key: {"w": jnp.zeros(2)}, symmetry=sb.Symmetry([bond])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": True}, "steps must be a whole number, got bool True"),
        ({"steps": 1.5}, "steps must be a whole number, got float 1.5"),
        ({"replicas": True}, "replicas must be a whole number"),
        ({"devices": []}, "devices is empty"),
    ],
)
def test_calls_are_checked(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        run(problem(), **options)


def test_a_start_is_a_dict() -> None:
    with pytest.raises(TypeError, match=r"start takes a dict of arrays, as run.final, got 3"):
        run(problem(), start=3)


@pytest.mark.parametrize("rule", [sb.SGD(0.1, 4), Optax(optax.sgd(0.1), 4)])
def test_antithetic_pairs_need_noise(rule: Any) -> None:
    with pytest.raises(ValueError, match=f"alone, and this {type(rule).__name__} has none"):
        run(problem(), rule, antithetic=True, replicas=2)


@pytest.mark.parametrize("place", ["file", "/proc/nowhere/run"])
def test_a_path_that_cannot_be_written_promises_nothing(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot write the run to .* No step of this call was saved"):
        run(problem(), path=tmp_path / place)
