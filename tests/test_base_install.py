"""What the base install promises, with the packages of all extras missing."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from symbias._core.extras import MissingExtra, needed_by

HIDDEN = (
    *("jax", "jaxlib", "optax", "blackjax", "arviz_stats", "arviz", "xarray", "zarr", "torch"),
    *("pandas", "transformers", "cvxpy", "peft"),
)
HIDE = f"""
import sys
HIDDEN = {HIDDEN!r}

class Absent:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent)
"""
NILE = str(files("symbias") / "data" / "nile.csv")
BONDS = "bonds:\n  - {group: GeneralLinear(4), vectors: [[a, 0]], covectors: [[b, 1]]}\n"


def python(code: str, folder: Path) -> str:
    """What a new process prints, where warnings are errors and the extras are missing."""
    command = [sys.executable, "-W", "error", "-c", HIDE + code]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


LIBRARY = """
import numpy as np
import symbias as sb

rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 8)), rng.normal(size=60)
w = rng.normal(size=8)
for penalty in (sb.L1(), sb.Lq(2 / 3), sb.ElasticNet(0.5), sb.GroupLasso(2), sb.LogSum(0.1)):
    model = sb.DesignedRegressor(penalty, 0.05).fit(X, y)
    assert model.converged_, penalty
    sb.card(model.parameterization_)
for solver in ("varpro", "gd"):
    trained = sb.DesignedRegressor(sb.L1(), 0.05, solver=solver).fit(X, y)
    direct = sb.DesignedRegressor(sb.L1(), 0.05).fit(X, y)
    assert abs(trained.objective_ - direct.objective_) <= 1e-6 * direct.objective_, solver
sb.DesignedRegressorCV(sb.L1()).fit(X, y)
sb.DesignedClassifier(sb.L1(), 0.01).fit(X, y > 0)
assert sb.fit_series(np.arange(60), y.cumsum(), sb.TotalVariation(), 1.0).converged
sb.complete(np.where(rng.random((8, 6)) < 0.7, np.outer(w, w[:6]), np.nan), strength=0.01)

p = sb.design(sb.L1(), sb.WeightDecay(0.1), shape=8)
assert np.isclose(sb.WeightDecay(0.1).induced(p)(w), 0.1 * np.abs(w).sum())
noise = sb.LabelNoise(1.0, 0.1, batch_size=1)
assert np.isclose(noise.induced(p)(w), noise.scale * 2 * np.abs(w).sum())
flow = sb.GradientFlow(1e-3)
fitted = flow.bregman_projection(p, X[:4], y[:4])
assert np.allclose(X[:4] @ fitted, y[:4])
rows = {row.mechanism: row for row in sb.card(p).rows}
assert rows["gradient flow"].value is not None
line = "Langevin needs JAX: pip install 'symbias[simulate]'"
assert (rows["Langevin"].status, rows["Langevin"].note) == ("needs symbias[simulate]", line)
assert len(rows) == 8

theta = {k: rng.normal(size=v) for k, v in sb.MatrixProduct(4, 3).shapes.items()}
bonds = sb.MatrixProduct(4, 3).symmetry
balanced = sb.balance(bonds, theta).params
assert sb.log_volume(bonds, balanced) < sb.log_volume(bonds, theta)
assert all(np.abs(q).max() < 1e-9 for q in sb.charges(bonds, balanced).values())
try:
    sb.design(sb.L1(), sb.GradientFlow(0.1), shape=(2, 3, 4)) and sb.design(
        sb.Nuclear(), sb.GradientFlow(0.1), shape=(3, 3)
    )
except sb.Refused as refusal:
    assert "Langevin" not in str(refusal), refusal
print("done")
"""


def test_the_library(tmp_path: Path) -> None:
    assert python(LIBRARY, tmp_path) == "done\n"


COMMANDS = """
import json
from typer.testing import CliRunner
from symbias.cli import app

found = {}
for line in LINES:
    result = CliRunner().invoke(app, line)
    assert isinstance(result.exception, SystemExit | None), (line, repr(result.exception))
    found[line[0] + line[-1]] = [result.exit_code, result.stdout, result.stderr]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Status, output and errors of commands, by their first word and their folder."""
    folder = tmp_path_factory.mktemp("base")
    rng = np.random.default_rng(0)
    arrays = {"a": (4, 6), "b": (5, 4)}
    model = {n: rng.normal(size=s).astype(ml_dtypes.bfloat16) for n, s in arrays.items()}
    save_file(model, folder / "m.safetensors")
    (folder / "b.yaml").write_text(BONDS)
    table = "x,z,y\n" + "".join("{},{},{}\n".format(*row) for row in rng.normal(size=(30, 3)))
    (folder / "t.csv").write_text(table)
    bonds = ["m.safetensors", "--bonds", "b.yaml"]
    table_of = ["fit", "t.csv", "--strength", "0.1", "--target", "y", "--verify"]
    lines = [
        ["demo", "--out", "demo"],
        ["fit", NILE, "--penalty", "trend", "--verify", "--out", "series"],
        [*table_of, "--penalty", "l1", "--out", "table"],
        [*table_of, "--penalty", "logsum", "--out", "links"],
        ["audit", *bonds, "--out", "audit"],
        ["balance", *bonds, "--out", "new.safetensors"],
        ["design", "--penalty", "tv", "--out", "design"],
        ["design", "--penalty", "l1", "--mechanism", "gradient-flow", "--out", "flow"],
        ["design", "--penalty", "l1", "--mechanism", "langevin", "--out", "noise"],
        ["study", "list"],
        ["study", "run", "orbits", "--out", "orbits"],
    ]
    found = json.loads(python(f"LINES = {lines!r}\n" + COMMANDS, folder))
    assert not (folder / "noise").exists()
    assert not (folder / "orbits").exists()
    records = {name: json.loads((folder / name / "run.json").read_text()) for name in ("links",)}
    return found | records


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("demodemo", "Page: file://"),
        ("fitseries", "trained"),
        ("fittable", "trained"),
        ("fitlinks", "Page: file://"),
        ("auditaudit", "Page: file://"),
        ("balancenew.safetensors", "Written: new.safetensors"),
        ("designdesign", "needs symbias[simulate]"),
        ("designflow", "of a product of"),
        ("studylist", "relu-balance"),
    ],
)
def test_a_command(said: dict[str, tuple[int, str, str]], command: str, word: str) -> None:
    code, stdout, stderr = said[command]
    assert code == 0, stderr
    assert word in stdout


def test_the_demo_trains_the_factors_too(said: dict[str, tuple[int, str, str]]) -> None:
    assert said["demodemo"][1].count("factors trained") == 2


@pytest.mark.parametrize(
    ("command", "what"),
    [("designnoise", "sb.Langevin"), ("studyorbits", "the study orbits")],
)
def test_a_command_that_needs_more(
    said: dict[str, tuple[int, str, str]], command: str, what: str
) -> None:
    line = f"symbias: error: {what} needs JAX: pip install 'symbias[simulate]'\n"
    assert said[command] == [2, "", line]


def test_what_could_not_be_trained_is_said_in_the_record(said: dict[str, dict]) -> None:
    record = said["links"]
    assert record["trained"] is None
    assert record["trained_note"].endswith("needs JAX: pip install 'symbias[simulate]'")
    assert record["reference"] is None or record["reference"]["solver"]


MORE = """
import numpy as np
import symbias as sb

def own():
    return sb.Parameterization.of(lambda t: t["u"] ** 2, {"u": 3})

def varpro():
    X = np.random.default_rng(0).normal(size=(20, 3))
    sb.DesignedRegressor(sb.LogSum(0.1), 0.1, solver="varpro").fit(X, X[:, 0])

CALLS = {
    "sb.simulate": lambda: sb.simulate,
    "sb.SGD": lambda: sb.SGD,
    "sb.Langevin": lambda: sb.Langevin,
    "sb.equilibrium": lambda: sb.equilibrium,
    "sb.verify": lambda: sb.verify,
    "sb.compare": lambda: sb.compare,
    "sb.discover": lambda: sb.discover(lambda t, x: x @ t["w"], {"w": (3,)}, np.ones((2, 3))),
    "Parameterization.of": own,
    "GradientFlow.interpolator": lambda: sb.GradientFlow(0.1).interpolator(
        sb.Hadamard(3), np.eye(3), np.ones(3)
    ),
    "training the factors of this design": varpro,
    "symbias.dynamics": lambda: __import__("symbias.dynamics"),
    "symbias.torch": lambda: __import__("symbias.torch"),
}
for what, call in CALLS.items():
    try:
        call()
    except ImportError as error:
        assert error.__suppress_context__, what
        print(error)
    else:
        print(what, "raised nothing")
"""


def test_what_is_missing_is_named_with_its_extra(tmp_path: Path) -> None:
    lines = python(MORE, tmp_path).splitlines()
    names = [line.partition(" needs ")[0] for line in lines]
    assert names == [
        *("sb.simulate", "sb.SGD", "sb.Langevin", "sb.equilibrium", "sb.verify", "sb.compare"),
        *("sb.discover", "Parameterization.of", "GradientFlow.interpolator"),
        *("training the factors of this design", "symbias.dynamics", "symbias.torch"),
    ]
    for line in lines[:-1]:
        assert line.endswith(
            (
                " needs JAX: pip install 'symbias[simulate]'",
                "xarray: pip install 'symbias[simulate]'",
            )
        )
    assert lines[-1].endswith("needs PyTorch: pip install 'symbias[torch]'")


def test_the_nearest_to_what_was_asked_for_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"^sb\.simulate needs JAX: pip install") as found:  # noqa: SIM117
        with needed_by("sb.simulate"), needed_by("a room inside"):
            raise ModuleNotFoundError("No module named 'jax'", name="jax.numpy")
    assert found.value.name == "jax"
    with pytest.raises(ModuleNotFoundError, match=r"^No module"), needed_by("sb.simulate"):
        raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
