"""Every advice that a message gives is followed: what it sends a user to must not refuse as well.

Advice of `sb.design` is followed in tests/designs/test_advice.py, for all penalties and mechanisms.
"""

import ast
import copy
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch.optim.swa_utils import AveragedModel
from typer.testing import CliRunner

import symbias as sb
import symbias.torch as st
from symbias.cli import app
from symbias.solvers.reference import convex_reference

SOURCES = Path(sb.__file__).parent
Call = Callable[[], Any]


class Case(NamedTuple):
    """Part of a message, a call that raises it, and calls that do what it says."""

    says: str
    asked: Call
    followed: tuple[Call, ...]


X = np.linspace(-1, 1, 48).reshape(12, 4) ** 3 + np.eye(12, 4)
Y = X @ np.array([1.0, 0.0, -1.0, 0.5]) + 0.1 * np.cos(np.arange(12))
TIMES = np.arange(12.0)
SIDES = X[:, 0] > 0
HALF = X @ np.array([1.0, 0.5, 2.0, 1.0]) > 0  # apart by a w >= 0
PAIRS = np.stack([Y, -Y], axis=1)
FUSED = 0.1 * sb.L1() + sb.TotalVariation()


def problem(**options: Any) -> sb.Problem:
    """w = u v, one number, with or without its symmetry."""
    options = {"data": (X[:, :1], Y)} | options

    def predict(params: Any, x: Any) -> Any:
        return x[:, 0] * params["u1"][0] * params["u2"][0]

    return sb.Problem(predict, {"u1": jnp.ones(1), "u2": jnp.full(1, 0.5)}, **options)


def sampler(key: Any, count: int) -> Any:
    x = jax.random.normal(key, (count, 1))
    return x, x[:, 0]


MINI = sb.SGD(0.01, batch_size=2)
SQUARES = sb.Parameterization.of(lambda t: t["u"] ** 2, {"u": 2})
SUMMED = sb.Synthesis(sb.CumulativeSum(1), SQUARES)
RESCALING = sb.Hadamard(1).symmetry
CIRCLE = sb.Radial((), 2).symmetry
BOUNDED = sb.Custom(lambda w: w / (1 + w), high=50.0)


def langevin(reference: str, p: Any = None) -> sb.Law:
    return sb.Langevin(0.5, reference=reference).law(p or sb.Radial((), 3), lambda w: w**2)


def potential(start: float) -> Any:
    p = sb.Radial(1, 3)
    theta = {name: np.full(shape, start) for name, shape in p.shapes.items()}
    return sb.GradientFlow(0.1).potential(p, np.ones(1), theta)


def margin(p: sb.Parameterization, y: Any = None, start: Any = None) -> Any:
    return sb.MaxMargin().direction(p, X, SIDES if y is None else y, start=start)


def network(x: np.ndarray, width: int) -> sb.Parameterization:
    shapes = dict.fromkeys("uvb", (width,)) | dict.fromkeys("ac", ())
    return sb.Parameterization.of(lambda theta: sb.FunctionSpace.network(theta, x), shapes)


PAIR = np.array([[1.0, -1.0, 2.0, 0.5], [0.5, 1.5, 0.0, 1.0]])


def foretold(rule: Any) -> Any:
    return sb.GradientFlow(0.3).expected_after(sb.Hadamard(4), PAIR, np.ones(2), rule)


def optax_rule() -> sb.Optax:
    return sb.Optax(optax.adam(0.05))


def drawn(key: Any, count: int) -> Any:
    x = jax.random.normal(key, (count, 4))
    return x, x[:, 0]


def stepped_run(
    steps: int = 8000, scale: float = 0.3, dtype: Any = np.float64, **options: Any
) -> Any:
    """A run of gradient descent on a pair of samples, and the potential after it."""
    p, flow = sb.Hadamard(4), sb.GradientFlow(scale)
    start = {k: v.astype(dtype) for k, v in flow.init(p).items()}
    options = {"data": (PAIR, np.ones(2))} | options
    made = sb.Problem(lambda t, x: x @ p(t), start, **options)
    batch = None if made.data is not None else 1
    run = sb.simulate(made, sb.SGD(0.1, batch), steps=steps, every=steps, progress=False)
    return flow.after(p, run, PAIR)


def settled(**options: Any) -> Any:
    start = {"u1": np.ones(1), "u2": np.ones(1)}
    rule = sb.SGD(0.1, batch_size=2, label_noise=0.1)
    return sb.equilibrium(problem(**options), start, rule)


def bond(**options: Any) -> sb.Bond:
    return sb.Bond(sb.GeneralLinear(8), [("u", 0)], [("v", 0)], **options)


def optimized(before: bool) -> Any:
    """Design a model, with an optimizer that was made before or is made after."""
    model = torch.nn.Linear(3, 2)
    early = torch.optim.SGD(model.parameters(), 0.1) if before else None
    st.apply(model, "weight", "l1")
    return early, torch.optim.SGD(st.factor_parameters(model, 0.1), 0.1)


def trained(wish: Any, *shape: int, ones: bool = True) -> None:
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.ones(shape) if ones else torch.zeros(shape))
    st.apply(module, "weight", wish)


def penalised(wish: Any, kind: Any = torch.optim.SGD, first: bool = True) -> None:
    model = torch.nn.Linear(3, 2)
    if first:
        st.penalize(model, "weight", wish, 0.1)
    st.ProximalStep(kind(model.parameters(), 0.1))


def both(strength: float) -> None:
    """A penalty and a design of one weight."""
    model = torch.nn.Linear(3, 2)
    st.penalize(model, "weight", "l1", strength)
    st.apply(model, "weight", "l1")


def channels() -> torch.nn.Module:
    kinds = torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 1)
    return torch.nn.Sequential(*kinds)


def stepped(after: bool) -> None:
    """A step after `collapse`, of the optimizer from before or of a new one."""
    model = torch.nn.Linear(3, 2)
    st.apply(model, "weight", "l1")
    optimizer = torch.optim.SGD(st.factor_parameters(model, 0.1), 0.1)
    st.collapse(model)
    if after:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()


def averaged(plainly: bool) -> None:
    """`collapse` of an average of factors, or an average of collapsed copies."""
    model = st.apply(torch.nn.Linear(3, 2), "weight", "l1")

    def plain() -> torch.nn.Module:
        twin = copy.deepcopy(model)
        st.collapse(twin)
        return twin

    average = AveragedModel(plain() if plainly else model)
    for _ in range(2):
        average.update_parameters(plain() if plainly else model)
    if not plainly:
        st.collapse(average)


def saved(plainly: bool) -> None:
    class Model(torch.nn.Sequential):
        def save_pretrained(self) -> Any:
            return self.state_dict()

    model = Model(torch.nn.Linear(3, 2))
    st.apply(model, "0.weight", "l1")
    if plainly:
        model = copy.deepcopy(model)
        st.collapse(model)
    model.save_pretrained()


def ran(**options: Any) -> sb.Run:
    rule = options.pop("rule", sb.SGD(0.01))
    return sb.simulate(options.pop("of", problem()), rule, steps=4, progress=False, **options)


def fit_wide(high: float) -> Any:
    penalty = sb.Custom(lambda w: w / (1 + w), high=high)
    return sb.DesignedRegressor(penalty, 1e-4).fit(X, 100 * Y)


def cli(text: str, *options: str) -> None:
    """Run a command on a table that holds this text; an error is what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "data.csv"
        table.write_text(text)
        given = ["fit", str(table), *options, "--out", f"{folder}/out", "--quiet"]
        found = CliRunner().invoke(app, given)
    if found.exit_code:
        raise ValueError(" ".join(found.output.split()))


def rows(*parts: Any) -> str:
    """A table of a time, a value, and whatever else."""
    table = [",".join(map(str, [k, *row])) for k, row in enumerate(zip(*parts, strict=True))]
    return "\n".join(table) + "\n"


def thousands(form: str, separator: str = ",") -> str:
    """A series of numbers that are written in one way."""
    lines = [f"{k}{separator}{form.format(100 + k)}" for k in range(12)]
    return "\n".join([f"t{separator}y", *lines]) + "\n"


TV = ("--penalty", "tv", "--strength", ".1")
BARE = rows(Y)
SERIES = "t,y\n" + BARE
NAMES = "a,b,y\n" + rows([f"n{k}" for k in range(12)], Y)
CLASSES = "t,x,kind\n" + rows(Y, ["a"] * 6 + ["b"] * 5 + ["c"])
DATES = "day,y\n" + "\n".join(f"{k:02}/{1 + k % 12:02}/2021,{y}" for k, y in enumerate(Y, 1)) + "\n"
ISO = "day,y\n" + "\n".join(f"2021-{k:02}-{k:02},{y}" for k, y in enumerate(Y, 1)) + "\n"

CASES = [
    # the command line
    Case(
        "y must be numbers",
        lambda: sb.DesignedRegressor().fit(X, ["a", "b"] * 6),
        (lambda: sb.DesignedClassifier().fit(X, ["a", "b"] * 6),),
    ),
    Case(
        "groups of one coefficient are l1",
        lambda: sb.DesignedRegressor("group").fit(X, Y),
        tuple(
            lambda penalty=penalty: sb.DesignedRegressor(penalty).fit(X, Y)
            for penalty in (sb.GroupLasso([0, 0, 1, 1]), sb.GroupLasso(2), "l1")
        ),
    ),
    Case(
        "give the columns names, or say --no-header",
        lambda: cli(BARE, "--penalty", "tv", "--strength", ".1"),
        (
            lambda: cli(SERIES, "--penalty", "tv", "--strength", ".1"),
            lambda: cli(BARE, "--penalty", "tv", "--strength", ".1", "--no-header"),
            lambda: cli(BARE, "--penalty", "tv", "--strength", ".1", "--header"),
        ),
    ),
    Case(
        "give a --strength",
        lambda: cli(CLASSES, "--penalty", "l1", "--target", "kind", "--classify"),
        (
            lambda: cli(
                CLASSES, "--penalty", "l1", "--target", "kind", "--classify", "--strength", ".1"
            ),
        ),
    ),
    Case(
        "write dates like 2020-01-31",
        lambda: cli(DATES, "--penalty", "tv", "--strength", ".1"),
        (lambda: cli(ISO, "--penalty", "tv", "--strength", ".1"),),
    ),
    Case(
        "write the one that is meant",
        lambda: cli(thousands('"1,{:03}"'), "--penalty", "tv", "--strength", ".1"),
        tuple(
            lambda form=form: cli(thousands(form), "--penalty", "tv", "--strength", ".1")
            for form in ("1.{:03}", "1{:03}")
        ),
    ),
    Case(
        "write the one that is meant (1.1000 or 1100)",
        lambda: cli(thousands("1.{:03}", ";"), "--penalty", "tv", "--strength", ".1"),
        tuple(
            lambda form=form: cli(thousands(form, ";"), "--penalty", "tv", "--strength", ".1")
            for form in ("1.{:03}0", "1{:03}")
        ),
    ),
    Case(
        " constant; --drop ",
        lambda: cli("a,b,y\n" + rows([1] * 12, Y), "--penalty", "l1", "--target", "y"),
        (
            lambda: cli(
                "a,b,y\n" + rows([1] * 12, Y), "--penalty", "l1", "--target", "y", "--drop", "b"
            ),
        ),
    ),
    Case(
        "has a category of its own in every row; --drop it",
        lambda: cli(NAMES, "--penalty", "l1", "--target", "y", "--onehot"),
        (lambda: cli(NAMES, "--penalty", "l1", "--target", "y", "--onehot", "--drop", "b"),),
    ),
    Case(
        "name the column to predict with --target",
        lambda: cli(SERIES, "--penalty", "l1"),
        (lambda: cli(SERIES, "--penalty", "l1", "--target", "y"),),
    ),
    Case(
        "the group penalty needs --groups",
        lambda: cli(SERIES, "--penalty", "group", "--target", "y"),
        (lambda: cli(SERIES, "--penalty", "group", "--target", "y", "--groups", "t"),),
    ),
    Case(
        "Name it with --target",
        lambda: cli("t,x,y\n" + rows(Y, Y), "--penalty", "tv", "--strength", ".1"),
        (
            lambda: cli(
                "t,x,y\n" + rows(Y, Y), "--penalty", "tv", "--strength", ".1", "--target", "y"
            ),
        ),
    ),
    Case(
        "Name it with --time",
        lambda: cli("x,a,b,y\n" + rows(Y, Y, Y), *TV, "--target", "y", "--drop", "x"),
        tuple(
            lambda time=time: cli("x,a,y\n" + rows(Y, Y), *TV, "--target", "y", "--time", time)
            for time in ("x", "index")
        ),
    ),
    # dynamics
    Case(
        "needs a batch_size",
        lambda: ran(of=problem(data=None, sampler=sampler)),
        (lambda: ran(of=problem(data=None, sampler=sampler), rule=sb.SGD(0.01, batch_size=2)),),
    ),
    Case(
        "give NumPy or JAX arrays",
        lambda: sb.Problem(lambda p, x: x @ p["w"], {"w": torch.zeros(4)}, data=(X, Y)),
        (
            lambda: sb.Problem(lambda p, x: x @ p["w"], {"w": np.zeros(4)}, data=(X, Y)),
            lambda: sb.Problem(lambda p, x: x @ p["w"], {"w": jnp.zeros(4)}, data=(X, Y)),
        ),
    ),
    Case(
        "give data=(x, y)",
        lambda: ran(of=problem(data=None, sampler=sampler), rule=sb.NormalizedDescent(degree=2)),
        (lambda: ran(rule=sb.NormalizedDescent(degree=2)),),
    ),
    Case(
        "Give the degree of the model",
        lambda: ran(rule=sb.NormalizedDescent()),
        (lambda: ran(rule=sb.NormalizedDescent(degree=2)),),
    ),
    Case(
        "do not fit: give (n,) and (n,) with targets +1 and -1, or (n, classes) and (n,)",
        lambda: sb.logistic_loss(jnp.ones((3, 1)), jnp.ones((3, 1))),
        (
            lambda: sb.logistic_loss(jnp.ones(3), jnp.ones(3)),
            lambda: sb.logistic_loss(jnp.ones((3, 2)), jnp.ones(3, dtype=int)),
        ),
    ),
    Case(
        "Draw with jax.random from its key, or give a fixed set of samples as data=(x, y)",
        lambda: ran(of=problem(data=None, sampler=lambda k, n: (X[:n, :1], Y[:n])), rule=MINI),
        (
            lambda: ran(of=problem(data=None, sampler=sampler), rule=MINI),
            lambda: ran(of=problem(), rule=MINI),
        ),
    ),
    Case(
        "give data, not a sampler",
        lambda: ran(of=problem(data=None, sampler=sampler), rule=sb.Langevin(0.1, orbital=1.0)),
        (lambda: ran(rule=sb.Langevin(0.1, orbital=1.0)),),
    ),
    Case(
        "the problem needs a symmetry",
        lambda: ran(rule=sb.Langevin(0.1)),
        (lambda: ran(of=problem(symmetry=RESCALING), rule=sb.Langevin(0.1)),),
    ),
    Case(
        "give its real and imaginary parts",
        lambda: ran(observe={"w": lambda params: 1j * params["u1"]}),
        (lambda: ran(observe={"re": lambda q: (1j * q["u1"]).real, "im": lambda q: q["u1"]}),),
    ),
    Case(
        "such as {'w': p}",
        lambda: ran(observe=sb.Hadamard(1)),
        (lambda: ran(observe={"w": sb.Hadamard(1)}),),
    ),
    # mechanisms
    Case(
        "give factors as start={name: array, ...}",
        lambda: sb.GradientFlow(0.1).induced(SQUARES),
        (lambda: sb.GradientFlow(start={"u": np.full(2, 0.1)}).induced(SQUARES),),
    ),
    Case(
        "Give factors as start={name: array, ...}",
        lambda: sb.GradientFlow(0.1).induced(SUMMED),
        (
            lambda: sb.GradientFlow(start={"free": np.ones(1), "u": np.full(2, 0.1)}).induced(
                SUMMED
            ),
        ),
    ),
    Case(
        "the scale of label noise depends on the batch: give a batch_size",
        lambda: sb.LabelNoise(0.1, 0.1, batch_size=None).scale,
        (lambda: sb.LabelNoise(0.1, 0.1, batch_size=4).scale,),
    ),
    Case(
        "there is no penalty; ask drift(p, theta, inputs)",
        lambda: sb.LabelNoise(0.1, 0.1, 4).penalty_at(sb.Hadamard(4), sb.Hadamard(4).init(0), X),
        (lambda: sb.LabelNoise(0.1, 0.1, 4).drift(sb.Hadamard(4), sb.Hadamard(4).init(0), X),),
    ),
    Case(
        "ask Langevin.law, or log_volume for the term",
        lambda: sb.effective_loss(lambda q: 0.0, RESCALING, 0.1),
        (
            lambda: sb.Langevin(0.1).law(sb.Hadamard(()), lambda w: (w - 1) ** 2),
            lambda: sb.log_volume(RESCALING, {"u1": np.ones(1), "u2": np.ones(1)}),
        ),
    ),
    Case(
        "no density against dw; ask for the quotient",
        lambda: sb.Langevin(0.1, reference="predictor").law(
            sb.MatrixProduct(3, 3, 2), lambda w: jnp.sum((w - 1) ** 2)
        ),
        (
            lambda: sb.Langevin(0.1, reference="quotient").law(
                sb.MatrixProduct(3, 3, 2), lambda w: jnp.sum((w - 1) ** 2)
            ),
        ),
    ),
    Case(
        "ask for reference='predictor'",
        lambda: langevin("ambient").cdf(0.5),
        (lambda: langevin("predictor").cdf(0.5),),
    ),
    Case(
        "does not conserve charges as SGD does",
        lambda: sb.equilibrium(
            problem(symmetry=RESCALING),
            {"u1": np.ones(1), "u2": np.ones(1)},
            sb.Optax(optax.adam(0.1)),
        ),
        (
            lambda: ran(rule=sb.Optax(optax.adam(0.01))),
            lambda: sb.expected_charge_drift,
        ),
    ),
    Case(
        "the problem has no symmetry: give Problem(..., symmetry=...)",
        lambda: settled(),
        (lambda: settled(symmetry=RESCALING),),
    ),
    Case(
        "Take a transform that leaves none free, such as sb.CumulativeSum(free=0)",
        lambda: margin(sb.Synthesis(sb.CumulativeSum(), sb.Hadamard(3))),
        (lambda: margin(sb.Synthesis(sb.CumulativeSum(free=0), sb.Hadamard(4))),),
    ),
    Case(
        "Take parts of one depth, and powers for links (sb.PowerLink)",
        lambda: margin(sb.Parts(4, [([0, 1], sb.Hadamard(2)), ([2, 3], sb.Plain(2))])),
        (
            lambda: margin(sb.Parts(4, [([0, 1], sb.Hadamard(2)), ([2, 3], sb.Hadamard(2))])),
            lambda: margin(sb.Linked(sb.Hadamard(4), sb.PowerLink(2.0))),
        ),
    ),
    Case(
        "ask for a penalised fit instead, as sb.DesignedClassifier and sb.WeightDecay(strength)",
        lambda: margin(sb.Hadamard(4), [0, 1] * 6),
        (
            lambda: sb.DesignedClassifier(sb.Hadamard(4), 0.1).fit(X, [0, 1] * 6),
            lambda: sb.WeightDecay(0.1).induced(sb.Hadamard(4)),
        ),
    ),
    Case(
        "Take the means out of the inputs: a column of ones then is the intercept",
        lambda: sb.MaxMargin().direction(sb.Hadamard(4), X + 1e9, SIDES),
        (
            lambda: sb.MaxMargin().direction(
                sb.Hadamard(5), np.column_stack([X - X.mean(axis=0), np.ones(len(X))]), SIDES
            ),
        ),
    ),
    Case(
        "the problem is not convex. Take a rank of ",
        lambda: margin(sb.MatrixProduct(4, 3, 1), X[:, :3].argmax(axis=1)),
        (lambda: margin(sb.MatrixProduct(4, 3, 2), X[:, :3].argmax(axis=1)),),
    ),
    Case(
        "train it until it separates the classes",
        lambda: margin(sb.Hadamard(4, depth=3), start=-np.ones(4)),
        (
            lambda: margin(
                sb.Hadamard(4, depth=3), start=sb.MaxMargin().direction(sb.Plain(4), X, SIDES).w
            ),
        ),
    ),
    Case(
        "for 3 classes give w the shape (4, 3)",
        lambda: margin(sb.Hadamard(4), X[:, :3].argmax(axis=1)),
        (lambda: margin(sb.Hadamard((4, 3)), X[:, :3].argmax(axis=1)),),
    ),
    Case(
        ": give w the shape (",
        lambda: margin(sb.Hadamard((4, 3))),
        (lambda: margin(sb.Hadamard((4, 2))),),
    ),
    Case(
        "give classes, such as y > 0",
        lambda: margin(sb.Hadamard(4), Y),
        (lambda: margin(sb.Hadamard(4), SIDES),),
    ),
    Case(
        "without decay there is no box. Take sb.Adam()",
        lambda: sb.AdamW(0.0),
        (lambda: sb.Adam().direction(sb.Plain(4), X, SIDES), lambda: sb.AdamW(0.1)),
    ),
    Case(
        "Give a beta_2 of beta_1 or more",
        lambda: sb.AdamW(0.1, betas=(0.95, 0.9)),
        (
            lambda: sb.AdamW(0.1, betas=(0.95, 0.95)),
            lambda: sb.Adam(betas=(0.9, 0.999)),
        ),
    ),
    Case(
        "Take w itself (sb.Plain), sb.Hadamard, sb.GroupProduct or sb.MatrixProduct",
        lambda: sb.AdamW(0.1).induced(sb.Parameterization.of(lambda t: t["x"] ** 3, {"x": 3})),
        tuple(
            lambda p=p: sb.AdamW(0.1).induced(p)
            for p in (sb.Plain(4), sb.Hadamard(4), sb.GroupProduct(4), sb.MatrixProduct(2, 2))
        ),
    ),
    Case(
        "the w that factors in a box reach are not known. Take AdamW.kkt to judge a run",
        lambda: sb.AdamW(0.1).induced(sb.Sum([sb.Hadamard(2), sb.Plain(2)])),
        (
            lambda: sb.AdamW(0.1).kkt(
                sb.Sum([sb.Hadamard(2), sb.Plain(2)]),
                sb.Sum([sb.Hadamard(2), sb.Plain(2)]).init(0),
                np.ones(2),
            ),
        ),
    ),
    Case(
        "Take AdamW.kkt to judge a run, or sb.Plain, sb.Hadamard or sb.GroupProduct",
        lambda: sb.AdamW(0.1).least_squares(sb.MatrixProduct(2, 2), X.reshape(12, 2, 2), Y),
        (
            lambda: sb.AdamW(0.1).kkt(
                sb.MatrixProduct(2, 2), sb.MatrixProduct(2, 2).init(0), np.ones((2, 2))
            ),
            *(
                lambda p=p: sb.AdamW(0.1).least_squares(p, X, Y)
                for p in (sb.Plain(4), sb.Hadamard(4), sb.GroupProduct(4))
            ),
        ),
    ),
    Case(
        "take lengths |x| (sb.PowerLink(1.0)) or |x|^2 (sb.PowerLink(2.0))",
        lambda: margin(sb.Radial(4, 2, sb.PowerLink(3.0)), HALF),
        tuple(
            lambda k=k: margin(sb.Radial(4, 2, sb.PowerLink(k)), HALF)  # type: ignore[misc]
            for k in (1.0, 2.0)
        ),
    ),
    Case(
        "give groups of two or more, and take sb.incremental for entries by themselves",
        lambda: sb.incremental_groups(X, Y, [0, 0, 1, 2], charge=1e-9),
        (
            lambda: sb.incremental_groups(X, Y, [0, 0, 1, 1], charge=1e-9),
            lambda: sb.incremental(X, Y, charge=1e-9),
        ),
    ),
    Case(
        "Take sb.Plain, or for gradient descent on factors sb.MaxMargin()",
        lambda: sb.Adam().direction(sb.Hadamard(4, depth=3), X, SIDES),
        (lambda: sb.Adam().direction(sb.Plain(4), X, SIDES), lambda: margin(sb.Hadamard(4))),
    ),
    Case(
        "take l2, its like for vectors, or sb.Plain((rows, columns))",
        lambda: sb.SteepestDescent("spectral").direction(sb.Plain(4), X, SIDES),
        (
            lambda: sb.SteepestDescent("l2").direction(sb.Plain(4), X, SIDES),
            lambda: sb.SteepestDescent("spectral").direction(
                sb.Plain((2, 2)), X.reshape(12, 2, 2), SIDES
            ),
        ),
    ),
    Case(
        "spectral steps are of matrices: take l2 for what has other shapes",
        lambda: ran(rule=sb.Optax(sb.steepest_descent("spectral"))),
        (lambda: ran(rule=sb.Optax(sb.steepest_descent("l2"))),),
    ),
    # finite steps
    Case(
        "is known for sb.SGD, with or without momentum",
        lambda: foretold(optax_rule()),
        (lambda: foretold(sb.SGD(0.05, momentum=0.5)),),
    ),
    Case(
        "does not come to the data. Take a smaller learning rate",
        lambda: foretold(sb.SGD(10.0, 1)),
        (lambda: foretold(sb.SGD(0.05, 1)),),
    ),
    Case(
        "is known for heavy ball: use nesterov=False",
        lambda: foretold(sb.SGD(0.05, momentum=0.5, nesterov=True)),
        (lambda: foretold(sb.SGD(0.05, momentum=0.5)),),
    ),
    Case(
        "Use replace=True, or no momentum",
        lambda: foretold(sb.SGD(0.05, 1, momentum=0.5, replace=False)),
        (
            lambda: foretold(sb.SGD(0.05, 1, momentum=0.5)),
            lambda: foretold(sb.SGD(0.05, 1, replace=False)),
        ),
    ),
    Case(
        "the run has no data set, and no interpolator: give Problem(..., data=)",
        lambda: stepped_run(data=None, sampler=drawn),
        (lambda: stepped_run(),),
    ),
    Case(
        "it needs more steps, or a smaller learning rate",
        lambda: stepped_run(steps=5),
        (lambda: stepped_run(),),
    ),
    Case(
        "rounding hides charges u^2 - v^2 of the run",
        lambda: stepped_run(dtype=np.float32, scale=1e-3),
        (lambda: stepped_run(scale=1e-3), lambda: stepped_run(dtype=np.float32, scale=1.0)),
    ),
    # evidence
    Case(
        "compare takes a law",
        lambda: sb.compare(3.0, np.ones(100)),
        (lambda: sb.compare(langevin("predictor"), np.linspace(0, 2, 400)),),
    ),
    Case(
        "holm takes evidence, as sb.compare returns",
        lambda: sb.holm([0.1]),
        (lambda: sb.holm([sb.compare(langevin("predictor"), np.linspace(0, 2, 400))]),),
    ),
    # maps, parameterizations, symmetry
    Case(
        "expected a link such as sb.PowerLink(2)",
        lambda: sb.Linked(sb.Hadamard(3), 2.0),
        (lambda: sb.Linked(sb.Hadamard(3), sb.PowerLink(2)),),
    ),
    Case(
        "give the penalty a larger `high`",
        lambda: sb.design(BOUNDED, sb.WeightDecay(1.0), shape=1).section(np.array([100.0])),
        (
            lambda: sb.design(
                sb.Custom(lambda w: w / (1 + w), high=500.0), sb.WeightDecay(1.0), shape=1
            ).section(np.array([100.0])),
            lambda: sb.design(BOUNDED, sb.WeightDecay(1.0), shape=1).section(np.array([1.0])),
        ),
    ),
    Case(
        "convex_reference solves sums of convex penalties as a cone program",
        lambda: sb.design(sb.L1() + sb.TrendFilter(), sb.WeightDecay(1.0), shape=4),
        (lambda: convex_reference(sb.L1() + sb.TrendFilter(), 0.1, X, Y),),
    ),
    Case(
        "write another as one function for sb.Custom, w: ",
        lambda: sb.design(sb.L1() + sb.LogSum(), sb.WeightDecay(1.0), shape=4),
        (
            lambda: sb.design(
                sb.Custom(lambda w: w + np.log(1 + w / 0.1)), sb.WeightDecay(1.0), shape=4
            ),
        ),
    ),
    Case(
        ", (4, -1)) takes it",
        lambda: sb.design("nuclear", sb.WeightDecay(1.0), shape=(4, 3, 2)),
        (
            lambda: sb.design(
                sb.Reshaped(sb.Nuclear(p=1.0, rank=None), (4, -1)),
                sb.WeightDecay(1.0),
                shape=(4, 3, 2),
            ),
        ),
    ),
    Case(
        "and for series of any length by sb.fit_series",
        lambda: sb.DesignedRegressor(FUSED).fit(np.eye(301), np.ones(301)),
        (lambda: sb.fit_series(np.arange(301), np.arange(301) % 7, FUSED, 0.1),),
    ),
    Case(
        "`changepoints` keeps its level under a sum of penalties too",
        lambda: sb.fit_series(TIMES, Y, FUSED, 0.01).false_alarms(),
        (
            lambda: (
                sb.fit_series(np.arange(40), np.arange(40) // 20 - 0.5, FUSED, 0.01).changepoints
            ),
        ),
    ),
    Case(
        "expected a penalty such as sb.Nuclear()",
        lambda: sb.Reshaped("nuclear", (2, -1)),
        (lambda: sb.Reshaped(sb.Nuclear(), (2, -1)),),
    ),
    Case(
        "for matrices W take sb.greedy_rank",
        lambda: sb.incremental(X.reshape(12, 2, 2), Y, charge=1e-8),
        (lambda: sb.greedy_rank(X.reshape(12, 2, 2), Y, charge=1e-8),),
    ),
    Case(
        "directions rise together. Take one below ",
        lambda: sb.greedy_rank(X.reshape(12, 2, 2), Y, charge=1.0),
        (lambda: sb.greedy_rank(X.reshape(12, 2, 2), Y, charge=1e-3),),
    ),
    Case(
        "take a sum of designs (sb.Sum)",
        lambda: sb.Parts(3, [([0, 1], sb.Hadamard(2)), ([1, 2], sb.Hadamard(2))]),
        (lambda: sb.Sum([sb.Hadamard(3), sb.GroupProduct(3)]),),
    ),
    Case(
        "Give a start above 0",
        lambda: potential(0.0),
        (lambda: potential(0.1),),
    ),
    Case(
        "a bond needs a group such as GeneralLinear(8)",
        lambda: sb.Bond(8, [("u", 0)], [("v", 0)]),
        (lambda: bond(),),
    ),
    Case(
        "give them different names",
        lambda: sb.Symmetry([bond(name="b"), bond(name="b")]),
        (lambda: sb.Symmetry([bond(name="b"), bond(name="c")]),),
    ),
    Case(
        "use Rescaling(r) for one scale per row",
        lambda: sb.UniformScale(3),
        (lambda: sb.Rescaling(3),),
    ),
    Case(
        "take the same function with smaller arrays",
        lambda: sb.discover(lambda q, x: x @ q["w"], {"w": (80, 2)}, np.ones((3, 80))),
        (lambda: sb.discover(lambda q, x: x @ q["w"], {"w": (4, 2)}, np.ones((3, 4))),),
    ),
    # penalties
    Case(
        "Add a small slope, or take a penalty that grows, such as sb.LogSum",
        lambda: sb.Custom(lambda w: np.minimum(w, 1.0) + np.maximum(w - 2.0, 0.0)),
        (
            lambda: sb.Custom(lambda w: np.minimum(w, 1.0) + np.maximum(w - 2.0, 0.0) + 0.1 * w),
            sb.LogSum,
        ),
    ),
    Case(
        "counting is no continuous penalty. log(1 + |w|/eps) (sb.LogSum) is the nearest",
        lambda: sb.Custom(lambda w: 1.0 * (w > 0)),
        (sb.LogSum,),
    ),
    Case(
        "log(1 + |w|/eps) (sb.LogSum) is the nearest that counts",
        lambda: sb.Custom(lambda w: (w > 0) + 0.1 * w),
        (sb.LogSum,),
    ),
    Case("0 is sb.Ridge()", lambda: sb.ElasticNet(0.0), (sb.Ridge,)),
    Case(
        "sb.LatentGroupLasso(groups) has",
        lambda: sb.design(sb.GroupLasso([[0, 1], [1, 2, 3]]), sb.WeightDecay(1.0), shape=4),
        (
            lambda: sb.design(
                sb.LatentGroupLasso([[0, 1], [1, 2, 3]]), sb.WeightDecay(1.0), shape=4
            ),
        ),
    ),
    Case(
        "power of 2, or take sb.Spectral()",
        lambda: sb.design(sb.Spectral("haar"), sb.WeightDecay(1.0), shape=101),
        (
            lambda: sb.design(sb.Spectral("haar"), sb.WeightDecay(1.0), shape=128),
            lambda: sb.design(sb.Spectral(), sb.WeightDecay(1.0), shape=101),
        ),
    ),
    Case("take sb.Schatten", lambda: sb.Nuclear(p=0.5), (lambda: sb.Schatten(0.5),)),
    Case(
        "It is a preference under noise, against dw",
        lambda: sb.DesignedRegressor(sb.LogPenalty(0.1), 0.1).fit(X, Y),
        (
            lambda: sb.design(
                sb.LogPenalty(0.05), sb.Langevin(0.1, reference="predictor"), shape=()
            ),
        ),
    ),
    # estimators and training
    Case(
        "sb.DesignedRegressorCV chooses one",
        lambda: sb.DesignedRegressor("l1", "auto").fit(X, Y),
        (lambda: sb.DesignedRegressorCV("l1", cv=2).fit(X, Y),),
    ),
    Case(
        "is known or still increasing: rescale X",
        lambda: fit_wide(50.0),
        (
            lambda: fit_wide(5_000.0),
            lambda: sb.DesignedRegressor(sb.Custom(lambda w: w / (1 + w), high=50.0), 1e-4).fit(
                100 * X, 100 * Y
            ),
            lambda: sb.DesignedRegressor(sb.LogSum(), 1e-4).fit(X, 100 * Y),
        ),
    ),
    Case(
        "give the strengths themselves",
        lambda: sb.DesignedRegressorCV(sb.Lq(1.5), cv=2).fit(X, Y),
        (lambda: sb.DesignedRegressorCV(sb.Lq(1.5), strengths=[0.1, 1.0], cv=2).fit(X, Y),),
    ),
    Case(
        "fit them together; fit any other penalty one by one",
        lambda: sb.fit_series(TIMES, PAIRS, "tv", 0.1),
        (
            lambda: sb.fit_series(TIMES, PAIRS, sb.TotalVariation(joint=True), 0.1),
            lambda: sb.fit_series(TIMES, PAIRS, sb.TrendFilter(joint=True), 0.1),
            lambda: [sb.fit_series(TIMES, y, "spectral", 0.1) for y in PAIRS.T],
        ),
    ),
    Case(
        "a series takes tv, trend, spectral or ",
        lambda: sb.fit_series(TIMES, Y, "l1", 0.1),
        tuple(
            lambda name=name: sb.fit_series(TIMES, Y, name, 0.1)
            for name in ("tv", "trend", "spectral", sb.L1() + sb.TotalVariation())
        ),
    ),
    Case(
        "take solver='varpro'",
        lambda: sb.DesignedRegressor("lq", 0.1, solver="gd", loss="huber").fit(X, Y),
        (lambda: sb.DesignedRegressor("lq", 0.1, solver="varpro", loss="huber").fit(X, Y),),
    ),
    Case(
        "card takes a parameterization, such as sb.Hadamard(10)",
        lambda: sb.card("l1"),
        (lambda: sb.card(sb.Hadamard(10)),),
    ),
    # PyTorch
    Case(
        "symbias.torch.penalize_channels(model, '*', strength), or what reads them",
        lambda: st.penalize(channels(), "0.weight", st.slices(0), 0.1),
        (
            lambda: st.penalize_channels(channels(), "*", 0.1),
            lambda: st.penalize(channels(), "2.weight", st.slices(1), 0.1),
        ),
    ),
    Case(
        "a strength of 0 first, or leave the design out",
        lambda: both(0.1),
        (lambda: both(0), lambda: penalised("l1")),
    ),
    Case(
        "slices along axis 0 are its inputs, and outputs are axis 1",
        lambda: st.apply(torch.nn.ConvTranspose2d(4, 2, 3), "weight", st.slices(0)),
        (lambda: st.apply(torch.nn.Conv2d(4, 2, 3), "weight", st.slices(0)),),
    ),
    Case(
        "Build a new optimizer, from model.parameters()",
        lambda: stepped(after=False),
        (lambda: stepped(after=True),),
    ),
    Case(
        "symbias.torch.collapse(plain); average.update_parameters(plain)",
        lambda: averaged(plainly=False),
        (lambda: averaged(plainly=True),),
    ),
    Case(
        "symbias.torch.collapse(plain); plain.save_pretrained(folder)",
        lambda: saved(plainly=False),
        (lambda: saved(plainly=True),),
    ),
    Case(
        "Build the optimizer after the design, from symbias.torch.factor_parameters(model)",
        lambda: optimized(before=True),
        (lambda: optimized(before=False),),
    ),
    Case(
        "call symbias.torch.penalize(model, name, penalty, strength) first",
        lambda: penalised("l1", first=False),
        (lambda: penalised("l1"),),
    ),
    Case(
        "take SGD, or a design (symbias.torch.apply) with factor_penalty in the loss",
        lambda: penalised("nuclear", torch.optim.Adam),
        (lambda: penalised("nuclear"), lambda: trained("nuclear", 3, 2)),
    ),
    Case(
        "no closed form; symbias.torch.apply(model, name, penalty) trains its design",
        lambda: penalised(sb.TotalVariation(axis=0)),
        (lambda: trained(sb.TotalVariation(axis=0), 3, 2),),
    ),
    Case(
        "or take two factors (sb.L1())",
        lambda: trained(sb.Lq(1.5), 3, ones=False),
        (lambda: trained(sb.L1(), 3, ones=False), lambda: trained(sb.Lq(1.5), 3)),
    ),
    Case(
        "sb.L1(), sb.ElasticNet() and sb.Ridge() have",
        lambda: trained(sb.TotalVariation()),
        (
            lambda: trained(sb.L1()),
            lambda: trained(sb.ElasticNet()),
            lambda: trained(sb.Ridge()),
        ),
    ),
    Case(
        "write symbias.torch.slices(0) for its slices",
        lambda: trained(sb.GroupLasso(1), 3, 2),
        (
            lambda: trained(st.slices(0), 3, 2),
            lambda: trained(sb.GroupLasso([[0, 0], [1, 1], [2, 2]]), 3, 2),
            lambda: trained("l1", 3, 2),
        ),
    ),
    Case(
        "prefers the least norm on its orbit: take sb.WeightDecay(strength)",
        lambda: sb.FunctionSpace(0.1).induced(sb.Hadamard(12), inputs=TIMES),
        (lambda: sb.WeightDecay(0.1).induced(sb.Hadamard(12)),),
    ),
    Case(
        "points: take a width of",
        lambda: sb.FunctionSpace(0.1).induced(network(TIMES, 9), inputs=TIMES),
        (lambda: sb.FunctionSpace(0.1).induced(network(TIMES, 10), inputs=TIMES),),
    ),
    Case(
        "functions are seen at points: give inputs, an array of them",
        lambda: sb.FunctionSpace(0.1).induced(network(TIMES, 10)),
        (lambda: sb.FunctionSpace(0.1).induced(network(TIMES, 10), inputs=TIMES)(Y),),
    ),
    Case(
        "total variation is along the first one",
        lambda: trained(sb.TotalVariation(), 3, 2, 2),
        (
            lambda: trained(sb.TotalVariation(axis=0), 3, 2, 2),
            lambda: trained(sb.TotalVariation(joint=True), 3, 2, 2),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.says for case in CASES])
@pytest.mark.filterwarnings("ignore:.*levels off")  # says where the design holds
def test_advice_is_followed(case: Case) -> None:
    with pytest.raises((ValueError, TypeError, UserWarning), match=re.escape(case.says)):
        case.asked()
    for call in case.followed:
        call()


ADVICE = re.compile(
    r"\bsb\.[A-Za-z]\w+|symbias\.torch\.\w|solver=|; --|(?:with|gives|penalty needs) --"
    r"|(?:[:;,.] |or )(?:take|give|ask|use|write|name|say|try) (?!no )",
    re.IGNORECASE,
)
# what they send a user to is not in this library, or is tested with the message
ELSEWHERE = (
    "parametrize.remove_parametrizations",  # tests/torch
    "take the module before scripting",
    "if you know its bonds, give them with --bonds",  # tests/audit
    "of a smaller model of its kind, and give them with --bonds",  # tests/models
    "no config that could be shrunk: give factory and run",
    "no exact square synthesis",  # tests/designs
    "so with --family",
    "give the folder of an adapter",  # tests/adapters
    "no weights; give the folder that it is in",  # tests/audit
    "rise together. Take one below",  # tests/mechanisms
    "sb.incremental_groups, for matrix products sb.greedy_rank",
    "say so: balanced_section = True",  # tests/parameterizations
)


def messages() -> Iterator[str]:
    """All texts that are raised outside of `designs`, with ``{}`` where values go in."""
    for path in SOURCES.rglob("*.py"):
        if path.parent.name in ("designs", "studies"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                yield from map(_text, node.exc.args)


def _text(node: ast.expr) -> str:
    parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return "".join(part for part in parts if isinstance(part, str))


def test_no_advice_is_left_out() -> None:
    given = {text for text in messages() if ADVICE.search(text)}
    known = [re.sub(r"'|`", "", case.says) for case in CASES] + list(ELSEWHERE)
    left = [t for t in given if not any(k in re.sub(r"'|`", "", t) for k in known)]
    assert len(given) > 30
    assert not left
