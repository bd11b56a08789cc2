"""Mutants of the sources: small faults drawn at random, each run against the tests of its room.

Run it from the root of the repository::

    python tests/tools/mutants.py symmetry --count 25 --seed 0

One fault at a time is written into a temporary copy of ``src`` and ``tests``: a flipped sign, a
dropped factor, two swapped names (M and N, x and y, u and v, min and max), a number off by one, a
changed comparison. The room's own tests, which must pass without it, run quick ones first up to
the first that fails, within a time limit. A mutant that no test notices in time is printed with
its place and its difference: it is either equivalent to the original, or a test is missing. Exit
status: the number of survivors.
"""

import argparse
import ast
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
GEOMETRY = ("action", "bad_input", "balance", "checkpoint", "tracing", "volume")
ROOMS = {
    "symmetry": [f"tests/symmetry/test_{name}.py" for name in GEOMETRY],
    "symmetry/discovery": ["tests/symmetry/test_between.py", "tests/symmetry/test_discovery.py"],
    "mechanisms": ["tests/mechanisms"],
    "evidence": ["tests/test_evidence.py", "tests/test_evidence_chains.py"],
    "solvers": ["tests/solvers"],
}
SIGNS = {ast.Add: ast.Sub, ast.Sub: ast.Add}
COMPARISONS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
COMPARISONS |= {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
PAIRS = [("m", "n"), ("M", "N"), ("x", "y"), ("X", "Y"), ("u", "v"), ("a", "b"), ("i", "j")]
PAIRS += [("min", "max"), ("minimum", "maximum"), ("left", "right"), ("low", "high")]
PAIRS += [("rows", "columns"), ("up", "down"), ("zeros_like", "ones_like")]
SWAPS = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
Fault = tuple[ast.AST, str]  # the expression that changes, and its new text


def faults(tree: ast.AST) -> Iterator[Fault]:
    """All faults of one module, as the expressions they replace."""
    strings = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr)]
    inside = {n for string in strings for n in ast.walk(string)}  # their places are not known
    for node in (n for n in ast.walk(tree) if n not in inside):
        if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
            yield node, changed(node, op=SIGNS[type(node.op)]())
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            yield node, ast.unparse(node.left)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node, ast.unparse(node.operand)
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            yield node, changed(node, ops=[COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
        elif isinstance(node, ast.Name) and node.id in SWAPS and isinstance(node.ctx, ast.Load):
            yield node, SWAPS[node.id]
        elif isinstance(node, ast.Attribute) and node.attr in SWAPS:
            yield node, changed(node, attr=SWAPS[node.attr])
        elif isinstance(node, ast.Constant) and type(node.value) is int and node.value < 10:
            yield node, str(node.value + 1)


def changed(node: ast.AST, **fields: object) -> str:
    """The text of an expression with some fields replaced, in brackets."""
    kept = {name: getattr(node, name) for name in node._fields}
    return f"({ast.unparse(type(node)(**(kept | fields)))})"  # type: ignore[arg-type]


def replaced(source: str, fault: Fault) -> str:
    """The source with one expression replaced."""
    node, text = fault
    lines = source.splitlines(keepends=True)
    first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
    head = lines[first].encode()[: node.col_offset].decode()  # type: ignore[attr-defined]
    tail = lines[last].encode()[node.end_col_offset :].decode()  # type: ignore[attr-defined]
    return "".join([*lines[:first], head + text + tail, *lines[last + 1 :]])


def pytest(copy: Path, *arguments: str, limit: float | None = None) -> tuple[int, str]:
    """Exit status and output of the tests of the copy."""
    command = [sys.executable, "-m", "pytest", "-x", "-m", "not slow", *arguments]
    env = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=limit)
    return run.returncode, run.stdout


@cache
def quickest_first(copy: Path, room: str) -> list[str]:
    """The tests of a room in the order of the time they take."""
    status, report = pytest(copy, "-vv", "--durations=0", *ROOMS[room])
    if status:
        sys.exit(f"{report}\n{room}: its tests fail without a mutant")
    seconds: dict[str, float] = defaultdict(float)
    for time, test in re.findall(r"^([\d.]+)s (?:setup|call|teardown) +(.+)$", report, re.M):
        seconds[test] += float(time)
    return sorted(seconds, key=lambda test: seconds[test])


def outcome(copy: Path, path: Path, mutant: str, tests: list[str], limit: float) -> str:
    """What the tests say with the mutant in place of a file of the copy."""
    original = path.read_text()
    path.write_text(mutant)
    try:
        return "caught" if pytest(copy, "-q", *tests, limit=limit)[0] else "SURVIVED"
    except subprocess.TimeoutExpired:
        return "out of time"
    finally:
        path.write_text(original)


def files(folder: Path, room: str) -> list[Path]:
    """The sources of a room, without rooms inside that are listed themselves."""
    found = sorted((folder / "src/symbias" / room).rglob("*.py"))
    inner = [folder / "src/symbias" / other for other in ROOMS if other.startswith(f"{room}/")]
    return [path for path in found if not any(path.is_relative_to(other) for other in inner)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help=f"of {', '.join(ROOMS)}")
    parser.add_argument("--count", type=int, default=25, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=600, help="seconds per mutant")
    asked = parser.parse_args()
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("src", "tests", "pyproject.toml"):
            here = ROOT / part
            (shutil.copytree if here.is_dir() else shutil.copy)(here, copy / part)
        pool = [
            (path, fault, room)
            for room in asked.rooms
            for path in files(copy, room)
            for fault in faults(ast.parse(path.read_text()))
        ]
        drawn = random.Random(asked.seed).sample(pool, min(asked.count, len(pool)))
        for number, (path, fault, room) in enumerate(drawn, 1):
            source, tests = path.read_text(), quickest_first(copy, room)
            mutant = replaced(source, fault)
            found = outcome(copy, path, mutant, tests, asked.limit)
            survivors += found == "SURVIVED"
            place = f"{path.relative_to(copy)}:{fault[0].lineno}"  # type: ignore[attr-defined]
            print(f"{number}/{len(drawn)} {found} {place}", flush=True)
            if found != "caught":
                before, after = source.splitlines(), mutant.splitlines()
                changes = list(difflib.unified_diff(before, after, lineterm="", n=0))
                print("\n".join(changes[2:]), flush=True)
    print(f"{survivors} of {len(drawn)} survived")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
