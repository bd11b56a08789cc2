"""Progress: lines where there is no terminal, silence on demand."""

import pytest

from symbias._core import progress as _progress


def test_lines_say_what_is_done_and_what_is_left(capsys, monkeypatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 5.0])
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(clock))
    with _progress.progress("fit", 10) as report:
        report(1, "objective 5")  # at 1 s: too early
        report(4, "objective 3")  # at 4 s
        report(5, "objective 2")  # at 5 s: too soon after
    assert capsys.readouterr().err == "fit: 4 of 10, objective 3, 6 s left\n"


@pytest.mark.parametrize("total", [None, 10])
def test_silence(capsys, total) -> None:
    with _progress.progress("fit", total, show=False) as report:
        report(1, "x", 10)
    assert capsys.readouterr() == ("", "")


def test_one_long_step_is_seen_to_go_on(capsys, monkeypatch) -> None:
    for name, seconds in (("FIRST_LINE", 0.05), ("MORE_LINES", 0.2), ("BEAT", 0.02)):
        monkeypatch.setattr(_progress, name, seconds)
    with _progress.progress("fit lq", None) as report:
        _progress.time.sleep(0.15)
        report(3, "objective 2")
        _progress.time.sleep(0.5)
    first, *more = capsys.readouterr().err.splitlines()
    assert first == "fit lq: working for 0 s"
    assert more
    assert set(more) == {"fit lq: 3, objective 2"}
    _progress.time.sleep(0.3)
    assert capsys.readouterr().err == ""
