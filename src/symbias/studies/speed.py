"""A slice of the paper's trainings beside an eager PyTorch loop of the same steps."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from symbias.dynamics import SGD, Problem, simulate
from symbias.studies import (
    attention_balance,
    linear,
    matrix_completion,
    relu_balance,
    sparse_spectrum,
    total_variation,
)

STEPS, EAGER_STEPS, TURNS = 20_000, 300, 3
Loss = Callable[[dict[str, Any]], Any]


def rows() -> list[list[str]]:
    """A table, header first: microseconds a step of one run in turns, the best turn of each.

    Raises
    ------
    ImportError
        Without PyTorch.
    """
    found = [["setting", "PyTorch, eager (us a step)", "symbias (us a step)", "ratio"]]
    for name, problem, rule, eager, params in _cases():
        ours, theirs = [], []
        steps = STEPS // (20 if name == "attention" else 1)
        step = _eager_step(eager, _leaves(params), rule.learning_rate)
        _ours(problem, rule, steps)  # compiles
        for _ in range(TURNS):
            ours.append(_ours(problem, rule, steps))
            theirs.append(_timed(partial(_repeat, step)) / EAGER_STEPS)
        a, b = min(theirs) * 1e6, min(ours) * 1e6
        found.append([name, f"{a:.0f}", f"{b:.2g}", f"{a / b:.0f}"])
    return found


def _cases() -> list[tuple[str, Problem, SGD, Loss, dict[str, Any]]]:
    import torch

    def tensors(problem: Problem) -> dict[str, Any]:
        with problem.precision():
            drawn = problem.initial(jax.random.key(0))
        return {k: torch.tensor(np.asarray(v)) for k, v in drawn.items()}

    relu, attention = tensors(relu_balance.PROBLEM), tensors(attention_balance.PROBLEM)
    completion = tensors(matrix_completion.PROBLEM)

    def relu_loss(p: dict[str, Any]) -> Any:
        x = torch.randn(8, 3)
        y = torch.relu(x @ relu["teacher w"].T) @ relu["teacher v"] + 0.1 * torch.randn(8)
        return ((torch.relu(x @ p["w"].T) @ p["v"] - y) ** 2).mean() / 2

    def head(q: Any, k: Any, v: Any, x: Any) -> Any:
        return torch.softmax((x @ q) @ (x @ k).mT / 8**0.5, dim=-1) @ (x @ v)

    def attention_loss(p: dict[str, Any]) -> Any:
        x = torch.randn(16, 8, 16)
        with torch.no_grad():
            q, k, v = (attention[f"teacher {name}"] for name in "qkv")
            y = head(q, k, v, x) + 0.02 * torch.randn(16, 8, 8)
        return ((head(p["q"], p["k"], p["v"], x) - y) ** 2).sum() / 32

    def completion_loss(p: dict[str, Any]) -> Any:
        half = completion["seen"] * (torch.rand(20, 20) < 0.5)
        return (((p["p"] @ p["q"] - completion["truth"]) * half) ** 2).mean() / 2

    cases: list[tuple[str, Problem, SGD, Loss, dict[str, Any]]] = [
        ("ReLU", relu_balance.PROBLEM, relu_balance.RULE, relu_loss,
         {k: relu[k] for k in ("w", "v")}),
        ("attention", attention_balance.PROBLEM, attention_balance.RULE, attention_loss,
         {k: attention[k] for k in "qkv"}),
        ("matrix completion", matrix_completion.PROBLEM, matrix_completion.RULE, completion_loss,
         {k: completion[k] for k in "pq"}),
    ]  # fmt: skip
    for name, study in (("spectrum", sparse_spectrum), ("total variation", total_variation)):
        data = study.draw(0)
        x, y = (torch.tensor(a, dtype=torch.float32) for a in (data.x, data.y))
        start = {k: v.astype(np.float32) for k, v in data.factors.items()}

        def loss(p: dict[str, Any], x: Any = x, y: Any = y) -> Any:
            return ((x @ (p["u1"] * p["u2"]) - y) ** 2).mean() / 2

        problem = Problem(predict=linear.predict, params=start, data=(data.x, data.y))
        torched = {k: torch.tensor(v) for k, v in start.items()}
        cases.append((name, problem, study.SETTING.designed, loss, torched))
    return cases


def _leaves(params: dict[str, Any]) -> dict[str, Any]:
    return {k: v.clone().requires_grad_() for k, v in params.items()}


def _eager_step(loss: Loss, leaves: dict[str, Any], rate: float) -> Callable[[], None]:
    import torch

    def step() -> None:
        grads = torch.autograd.grad(loss(leaves), list(leaves.values()))
        with torch.no_grad():
            for leaf, grad in zip(leaves.values(), grads, strict=True):
                leaf.sub_(grad, alpha=rate)

    return step


def _repeat(step: Callable[[], None]) -> None:
    for _ in range(EAGER_STEPS):
        step()


def _ours(problem: Problem, rule: SGD, steps: int) -> float:
    run = {"steps": steps, "every": steps // 2, "progress": False}
    return _timed(lambda: simulate(problem, rule, **run)) / steps  # type: ignore[arg-type]


def _timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
