"""`symbias demo`, looked at in a real browser."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from symbias.cli import app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(app, ["demo", "--out", str(out), "--quiet"])
    assert result.exit_code == 0
    assert result.stdout == result.stderr == ""
    return out


def test_the_known_answers(demo: Path) -> None:
    nile = json.loads((demo / "nile" / "run.json").read_text())
    assert nile["changes"] == [[1898, 1899]]
    sunspots = json.loads((demo / "sunspots" / "run.json").read_text())
    assert 10 < sunspots["strongest_period"] < 12
    for record in (nile, sunspots):
        assert record["converged"]
        assert abs(record["reference"]["relative_objective_difference"]) < 1e-6


def test_nothing_is_fetched_and_nothing_is_left_over(demo: Path) -> None:
    page = (demo / "index.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert not list(demo.rglob("*.partial"))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
@pytest.mark.parametrize(
    "width", [420, *(pytest.param(w, marks=pytest.mark.slow) for w in (1280, 1920))]
)
def test_the_page_in_a_browser(demo: Path, width: int) -> None:
    from matplotlib.image import imread
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": 900})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:"))
                else said.append(r.url))  # fmt: skip
        page.goto((demo / "index.html").as_uri())
        assert "1898 and 1899" in page.inner_text("body")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        images = page.locator("figure img").all()
        assert len(images) == 5
        for k, image in enumerate(images):
            shot = demo / f"figure-{width}-{k}.png"
            image.screenshot(path=str(shot))
            pixels = imread(shot)[..., :3].reshape(-1, 3)
            # a blank or broken figure has one colour, or a few of its icon
            assert len(np.unique(pixels, axis=0)) > 50
            assert 0.005 < np.mean(pixels.min(axis=1) < 0.8) < 0.5
        browser.close()
    assert said == []


def test_names_in_the_data_cannot_break_the_page(tmp_path: Path) -> None:
    from symbias.cli.jobs import run_job
    from symbias.cli.read import read_csv
    from symbias.cli.record import Options
    from symbias.report.page import render

    data = tmp_path / "x.csv"
    data.write_text("t,<script>alert(1)</script>\n" + "\n".join(f"{i},{i % 3}" for i in range(9)))
    job = run_job(read_csv(data), Options("tv", 0.1, show_progress=False))
    page = render("<b>", "&", [job.section], "")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
