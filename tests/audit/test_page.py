"""The page of an audit, in a real browser at desktop and phone width."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from symbias.cli import app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync",
             "--disable-component-update", "--no-first-run"]  # fmt: skip
EVIL = "layer.0.<script>alert(1)</script>"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT: three layers of four heads, and an array with a hostile name."""
    folder, rng = tmp_path_factory.mktemp("model"), np.random.default_rng(0)
    arrays = {EVIL: rng.standard_normal(3)}
    for layer in range(3):
        base = f"encoder.layer.{layer}.attention"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            scale = np.exp(rng.standard_normal())
            arrays[f"{base}.{part}.weight"] = rng.standard_normal((32, 32)) * scale
    save_file(arrays, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "bert", "num_attention_heads": 4}')
    out = tmp_path_factory.mktemp("page")
    result = CliRunner().invoke(app, ["audit", str(folder), "--out", str(out), "--quiet"])
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == [
        "arrays.csv", "audit.json", "bonds.csv", "index.html"
    ]  # fmt: skip
    return out / "index.html"


def test_nothing_is_fetched_and_names_stay_text(page_file: Path) -> None:
    text = page_file.read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "alert(1)" in text
    assert "<script>alert" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
@pytest.mark.parametrize(
    "width", [420, *(pytest.param(w, marks=pytest.mark.slow) for w in (1280, 1920))]
)
def test_the_page_in_a_browser(page_file: Path, tmp_path: Path, width: int) -> None:
    from matplotlib.image import imread
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": width, "height": 900})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:"))
                else said.append(r.url))  # fmt: skip
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        _check_figures(page, tmp_path, imread)
        _check_sorting(page)
        # letters no smaller than 11 px, columns of words no narrower than a few of them
        sizes = page.evaluate(
            "[...document.querySelectorAll('td,th,p,li')].map(e => "
            "parseFloat(getComputedStyle(e).fontSize))"
        )
        assert min(sizes) >= 11
        assert page.locator("td").first.bounding_box()["width"] >= 60
        browser.close()
    assert said == []


def _check_figures(page, folder: Path, imread) -> None:  # type: ignore[no-untyped-def]
    images = page.locator("figure img").all()
    assert len(images) == 6  # two maps and the spectra, of two kinds of bonds
    for k, image in enumerate(images):
        image.screenshot(path=str(folder / f"{k}.png"))
        pixels = imread(folder / f"{k}.png")[..., :3].reshape(-1, 3)
        assert len(np.unique(pixels, axis=0)) > 50
        assert 0.005 < np.mean(pixels.min(axis=1) < 0.8) < 0.9


def _check_sorting(page) -> None:  # type: ignore[no-untyped-def]
    table = page.locator("table").nth(1)
    heads = table.locator("th").all_inner_texts()
    column = heads.index("imbalance")

    def values() -> list[str]:
        return table.evaluate(
            "(t, i) => [...t.tBodies[0].rows].map(r => r.cells[i].textContent)", column
        )

    start = values()
    assert len(start) == 24
    head = table.locator("th").nth(column)
    head.locator("button").click()
    up = [float(v) for v in values()]
    assert up == sorted(map(float, start))
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")  # by keyboard too
    assert [float(v) for v in values()] == up[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    first = table.locator("th").first
    first.locator("button").click()
    assert head.get_attribute("aria-sort") is None
    names = table.evaluate("t => [...t.tBodies[0].rows].map(r => r.cells[0].textContent)")
    assert names == sorted(names)
