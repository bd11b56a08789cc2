"""The paper's studies in reduced form; a wrong prediction fails in each."""

import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from symbias._core.files import FolderInUseError, locked
from symbias.cli import app
from symbias.dynamics import simulate
from symbias.studies import (
    STUDIES,
    attention_balance,
    linear,
    linear_story,
    matrix_completion,
    orbits,
    paper,
    relu_balance,
    sparse_spectrum,
    speed,
    study,
    total_variation,
)
from symbias.studies.claims import in_range
from symbias.studies.story import Setup, Story, in_single

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.slow
def test_frozen_charges_predict_relu_ratios_where_balance_does_not() -> None:
    run = relu_balance.summary(relu_balance.train(0, 20_000))
    ratio, predicted = run["ratio"], run["predicted"]
    assert ratio[0].min() < 0.1
    assert ratio[0].max() > 2
    assert np.abs(ratio / predicted - 1).max() < 0.01
    assert np.abs(ratio[-1] - 1).max() > 0.1  # not all are balanced, and the prediction knows
    charge = np.array([3.0, -3.0, 1e-9])
    inverse = relu_balance.ratios_of(-charge, np.ones(3))
    np.testing.assert_allclose(relu_balance.ratios_of(charge, np.ones(3)) * inverse, 1)


@pytest.mark.slow
def test_noise_moves_relu_ratios_along_the_predicted_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    found = relu_balance.settle(relu_balance.noisy_problem(0), 1e-2, 100_000, 0)
    middle, curve = (np.median(np.log(found[k]), axis=1) for k in ("ratio", "curve"))
    assert np.abs(middle - curve).max() < 0.05
    assert found["measured"] == pytest.approx(found["equilibrium"], rel=0.02)
    monkeypatch.setattr(relu_balance, "NOISE", 3.0)  # a wrong noise level has another curve
    squares = np.stack([np.ones((5, 16)) * 4, np.ones((5, 16))], axis=1)
    strong = relu_balance.predicted_curve(squares, 10_000, 0.0)
    monkeypatch.setattr(relu_balance, "NOISE", 1.0)
    weak = relu_balance.predicted_curve(squares, 10_000, 0.0)
    assert np.all(strong[-1] > weak[-1])


@pytest.mark.slow
def test_attention_charges() -> None:
    run = attention_balance.train(0, 2_000)
    assert run["moved"][-1] < 0.05
    assert run["imbalance"][-1] == pytest.approx(run["frozen"][-1], rel=0.01)
    assert run["ratio"].shape == (101, 8)


@pytest.mark.slow
def test_weight_decay_finds_the_least_nuclear_norm_and_a_large_start_does_not() -> None:
    data = in_single(matrix_completion.draw, 1, 0.6)
    truth, seen = data["truth"].astype(float), data["seen"].astype(float)
    optimum = matrix_completion.nuclear_optimum(truth, seen, 1e-3)
    # optimality: the gradient of the loss is -decay U V^T on the range, smaller elsewhere
    u, s, vt = np.linalg.svd(optimum)
    gradient = seen * (optimum - truth) / 800
    rank = int(np.sum(s > 1e-8))
    assert rank < 6
    inside = u[:, :rank].T @ gradient @ vt[:rank].T
    np.testing.assert_allclose(inside, -1e-3 * np.eye(rank), atol=1e-8)
    assert np.linalg.svdvals(gradient)[rank] <= 1e-3 * (1 + 1e-6)
    with_decay = matrix_completion._fast(data, 1.0, 1e-3, 20_000, 0).trace.w.values[0, -1]
    without = matrix_completion._fast(data, 1.0, 0.0, 20_000, 0).trace.w.values[0, -1]
    assert matrix_completion._off(with_decay, optimum) < 0.01
    assert matrix_completion._off(without, truth) > 0.05


@pytest.mark.parametrize("study", [sparse_spectrum, total_variation])
def test_flow_and_weight_decay_end_where_predicted(study: Any) -> None:
    data, setting = study.draw(1), study.SETTING
    run = linear.train(data, setting.designed, 20_000)
    z = run.trace.z.values[0, -1].astype(float)
    assert linear.flow_misses(data, z) < 1e-3
    least = np.linalg.lstsq(data.x, data.x @ z)[0]
    assert linear.relative(data, z, least) > 0.05  # the least norm with these predictions
    # convex optimum: |x^T r| / n is the strength on the support, and less elsewhere
    strength = setting.strengths[2]
    optimum = linear.convex_optimum(data, strength)
    pull = data.x.T @ (data.y - data.x @ optimum) / len(data.y)
    on = optimum != 0
    np.testing.assert_allclose(pull[on], strength * np.sign(optimum[on]), rtol=1e-2)
    assert np.abs(pull).max() < strength * 1.01
    assert data.error(optimum) < 0.02 < data.error(z) + 0.02


@pytest.mark.slow
def test_label_noise_ends_near_the_optimum_of_its_penalty() -> None:
    """At 1% of the noise's strength the optimum is further away than the bound."""
    data, setting = sparse_spectrum.draw(1), sparse_spectrum.SETTING
    run = linear.train(data, setting.noisy, 60_000, records=200)
    mean = linear.path_of(run, data)[100:].mean(axis=0)
    assert linear.relative(data, mean, linear_story.noise_prediction(setting, data)) < 0.04
    weaker = replace(setting, noisy=replace(setting.noisy, label_noise=0.3))
    stronger = replace(setting, noisy=replace(setting.noisy, label_noise=9.0))
    for other in (weaker, stronger):
        assert linear.relative(data, mean, linear_story.noise_prediction(other, data)) > 0.04


def test_best_strength_is_that_of_the_median() -> None:
    data = [sparse_spectrum.draw(seed) for seed in range(3)]
    strengths = np.array([0.0125, 0.5])
    best, errors = linear.best_strength(data, strengths)
    assert best == 0.0125
    assert errors.shape == (3, 2)


@pytest.mark.slow
def test_charges_decay_as_each_noise_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        orbits, "STEPS", {"isotropic": 400, "across orbits": 4_000, "gradient noise": 2_000}
    )
    across = orbits.walk("across orbits", 50)
    predicted = orbits.decay_across(across)
    left = orbits.charge(across) / orbits.charge(across)[:, :1]
    assert predicted[:, -1].mean() < 0.9
    np.testing.assert_allclose(left[:, -1], predicted[:, -1], rtol=0.05)
    gradient = orbits.walk("gradient noise", 200)
    left = np.log(orbits.charge(gradient)[:, -1] / orbits.charge(gradient)[:, 0]).mean()
    assert left == pytest.approx(np.log(orbits.decay_gradient(gradient)[-1]), rel=0.05)
    isotropic = orbits.charge(orbits.walk("isotropic", 200))
    assert isotropic[:, -1].std() > 10 * left_spread(across)
    assert isotropic[:, -1].mean() == pytest.approx(isotropic[0, 0], rel=0.15)


def left_spread(across: np.ndarray) -> float:
    return float(orbits.charge(across)[:, 40].std())


def small_story(at: Setup) -> Story:
    """A study of no time at all."""
    at.say("at work")
    from symbias.report import style

    with style.axes() as (figure, axes):
        axes.plot(np.arange(at.seeds))
        name = at.figure(figure, "line", {"x": np.arange(at.seeds)})
    values = np.arange(at.seeds) / at.seeds
    claims = [in_range("below a half", values, 0, 0.5), in_range("below two", values, 0, 2)]
    return Story("Small & plain", "One.\n\nTwo <b>.", ["found"], claims, [(name, "a line")])


@pytest.fixture(name="small")
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "PAPER", {"small": small_story})
    monkeypatch.setattr(paper.speed, "rows", lambda: [["setting", "ratio"], ["small", "2"]])


@pytest.mark.usefixtures("small")
def test_a_run_writes_everything_and_is_kept(tmp_path: Path, capsys: Any) -> None:
    run = paper.command("small")
    result = run(tmp_path, quick=True)
    rows = result["studies"]["small"]["claims"]
    assert [row["verdict"] for row in rows] == ["undecided", "consistent"]
    assert [row["held"] for row in rows] == [5, 8]
    for suffix in ("svg", "png", "csv"):
        assert (tmp_path / "small" / f"line.{suffix}").stat().st_size > 0
    page = (tmp_path / "index.html").read_text()
    assert "1 consistent" in page
    assert "1 of 2 claims hold in some seeds" in page
    assert "Two &lt;b&gt;." in page
    assert "http" not in page.replace("http-equiv", "")
    assert "at work" in capsys.readouterr().out
    assert run(tmp_path, quick=True) == result
    assert "kept" in capsys.readouterr().out
    run(tmp_path, quick=True, seeds=9)  # other options: done again
    assert "at work" in capsys.readouterr().out
    assert json.loads((tmp_path / "run.json").read_text())["seeds"] == 9


@pytest.mark.usefixtures("small")
def test_a_folder_in_use_is_refused_and_a_dead_lock_taken_over(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(FolderInUseError, match=f"process {os.getpid()}"),
        locked(tmp_path),
    ):
        pass
    (tmp_path / ".lock").write_text("999999")  # of a process that was killed
    paper.command("small")(tmp_path, progress=False)
    assert (tmp_path / ".lock").read_text() == ""


def test_the_lock_of_another_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), ready))
    other.start()
    assert ready.wait(60)
    result = CliRunner().invoke(app, ["study", "run", "orbits", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert f"in use by another run (process {other.pid})" in result.stderr
    other.kill()
    other.join()
    with locked(tmp_path):
        pass


def _hold(folder: str, ready: Any) -> None:
    import time

    with locked(Path(folder)):
        ready.set()
        time.sleep(600)


def test_bad_options(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(app, ["study", "run", "relu-balence", "--out", str(tmp_path / "o")])
    assert result.exit_code == 2
    assert "did you mean relu-balance?" in result.stderr
    result = runner.invoke(app, ["study", "run", "evidence", "--seeds", "3"])
    assert result.exit_code == 2
    assert "has no --seeds" in result.stderr
    assert runner.invoke(app, ["study", "run", "paper", "--seeds", "0"]).exit_code == 2
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        study("paper")(tmp_path, seeds=0)
    assert set(paper.PAPER) < set(STUDIES)
    for name, function in paper.PAPER.items():
        assert function.__doc__ == STUDIES[name]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the PATH")
@pytest.mark.usefixtures("small")
def test_the_page_fits_a_phone(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    paper.command("small")(tmp_path, quick=True, progress=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        for width in (390, 1100):
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto((tmp_path / "index.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("figure img").count() == 1
        browser.close()


@pytest.mark.slow
def test_the_eager_loop_takes_the_same_step() -> None:
    """What is timed is the same training: one step of each, full batch, agrees."""
    pytest.importorskip("torch")
    name, problem, rule, loss, start = speed._cases()[3]
    assert name == "spectrum"
    leaves = speed._leaves(start)
    step = speed._eager_step(loss, leaves, rule.learning_rate)
    for _ in range(3):
        step()
    ours = simulate(problem, rule, steps=3, progress=False).final
    np.testing.assert_allclose(leaves["u1"].detach().numpy(), ours["u1"][0], rtol=1e-5)


def test_seeds_differ_and_repeat() -> None:
    a, b = (relu_balance.PROBLEM.initial(jax.random.key(k)) for k in (0, 1))
    again = relu_balance.PROBLEM.initial(jax.random.key(0))
    assert not np.array_equal(a["w"], b["w"])
    np.testing.assert_array_equal(a["w"], again["w"])


@pytest.mark.slow
@pytest.mark.parametrize("name", paper.PAPER)
def test_each_study_runs_as_a_command_does(name: str, tmp_path: Path) -> None:
    result = study(name)(tmp_path, quick=True, progress=False, seeds=2)
    assert result["studies"][name]["claims"]
    assert "<img" in (tmp_path / "index.html").read_text()
