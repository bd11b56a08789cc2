"""The house rule: data flows one way, so no room imports a room below it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import symbias

SOURCE = Path(symbias.__file__).parent
# Top to bottom. A module may import from its own room and from rooms above it.
ROOMS = [
    "_version",
    "_core",
    "symmetry",
    "maps",
    "penalties",
    "parameterizations",
    "solvers",
    "dynamics",
    "mechanisms",
    "designs",
    "training",
    "evidence",
    "estimators",
    "report",
    "studies",
    "checkpoints",
    "models",
    "audit",
    "adapters",
    "torch",
    "cli",
]


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            modules = [node.module or ""]
            if node.module == "symbias":
                modules = [f"symbias.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {m.split(".")[1] for m in modules if m.startswith("symbias.")}
    return rooms


# without the two doors of the house, which hold names and the command
MODULES = sorted({*SOURCE.rglob("*.py")} - {SOURCE / "__init__.py", SOURCE / "__main__.py"})


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_upward_import(path: Path) -> None:
    own = ROOMS.index(room_of(path))
    for other in imported_rooms(path):
        assert ROOMS.index(other) <= own, f"{path} imports symbias.{other}, which lies below it"


def test_import_is_light() -> None:
    heavy = ("jax", "sklearn", "torch", "matplotlib", "xarray", "zarr", "optax")
    code = f"import sys, symbias; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_resolves() -> None:
    for name in symbias.__all__:
        assert getattr(symbias, name) is not None
    assert set(dir(symbias)) == set(symbias.__all__)


# Classes that a ladder would ask for.
CONCRETE = {
    *("Copies", "GroupProduct", "Hadamard", "Linked", "MatrixProduct", "Own", "Parts", "Plain"),
    *("Radial", "Sum", "Synthesis"),
}


def rungs(tree: ast.AST) -> int:
    """Questions for a concrete parameterization: by isinstance, match or singledispatch."""
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
            names = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            names |= {n.attr for n in ast.walk(node.args[1]) if isinstance(n, ast.Attribute)}
            count += bool(names & CONCRETE)
        elif isinstance(node, ast.MatchClass):
            count += ast.unparse(node.cls).split(".")[-1] in CONCRETE
        elif isinstance(node, ast.FunctionDef) and node.decorator_list:
            dispatched = any(
                "register" in ast.unparse(d) or "singledispatch" in ast.unparse(d)
                for d in node.decorator_list
            )
            kinds = {ast.unparse(a.annotation) for a in node.args.args if a.annotation}
            count += dispatched and bool(kinds & CONCRETE)
    return count


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_ladder_over_parameterizations(path: Path) -> None:
    if room_of(path) == "parameterizations":
        return
    assert not rungs(ast.parse(path.read_text())), f"{path}: ask a method instead"


def test_the_readme_names_the_rooms_in_their_order() -> None:
    readme = SOURCE.parents[1] / "README.md"
    if not readme.exists():
        pytest.skip("installed without its README")
    house = readme.read_text().split("## The house")[1].split("Data flows")[0]
    named = re.findall(r"^ {6}(\w+)/", house, re.MULTILINE)
    assert named == [room for room in ROOMS if (SOURCE / room / "__init__.py").exists()][1:]
    assert set(named) == {p.parent.name for p in SOURCE.glob("*/__init__.py")} - {"_core"}


# A room's face is its __init__. Rooms with rooms inside have a face for each of those.
INNER = {
    *("audit.advice", "audit.page", "models.twins", "report.cards", "report.page"),
    *("report.sections", "report.snippets", "report.style", "solvers.margins", "solvers.program"),
    *("solvers.reference", "studies.paper", "symmetry.discovery", "symmetry.groups"),
}
REACHES = {
    "audit:mechanisms.sgd",
    "mechanisms:dynamics.problem",
    *("studies:dynamics.problem", "studies:dynamics.rules", "studies:mechanisms.potentials"),
    "studies:mechanisms.charts",
    "studies:mechanisms.finite_steps",
}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_reaches_past_the_face_of_a_room(path: Path) -> None:
    own = room_of(path)
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("symbias."):
            continue
        inside = (node.module or "").removeprefix("symbias.")
        if "." not in inside or inside.split(".")[0] in (own, "_core") or inside in INNER:
            continue
        assert f"{own}:{inside}" in REACHES, f"{path}:{node.lineno} reaches into {inside}"
