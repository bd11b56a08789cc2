"""Every Python snippet in the README runs and prints what it says; commands for a CSV do too."""

import csv
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
CSV_DOOR = README.split("## I have a CSV")[1].split("\n## ")[0]


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet(
    code: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    promised = re.findall(r"^print\(.*\)  # (.*)$", code, flags=re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == promised


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) >= 3


@pytest.mark.slow
def test_the_commands_for_a_csv_find_what_is_said_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", CSV_DOOR, flags=re.DOTALL):
        if language == "python":
            exec(block, {})
        else:
            subprocess.run(block, shell=True, check=True, env=os.environ | path)

    with open("out/nile/coefficients.csv") as file:
        levels = [(float(row["fit"]), row["year"]) for row in csv.DictReader(file)]
    changes = [b[1] for a, b in pairwise(levels) if a[0] != b[0]]
    assert changes == ["1899"]
    with open("out/diabetes/coefficients.csv") as file:
        kept = [row["feature"] for row in csv.DictReader(file) if float(row["coefficient"])]
    assert len(kept) == 1 + 6  # the intercept, and the features
    assert Path("out/nile/index.html").exists()
    sure = json.loads(Path("out/nile/run.json").read_text())["sure"]
    (interval,) = sure["intervals"]
    alarms = round(sure["false_alarms"] * sure["draws"])
    said = " ".join(CSV_DOOR.split())
    assert f"with 95% confidence between {interval[0]} and {interval[1]}," in said
    assert f"would show a change in {alarms} of {sure['draws']} series." in said
