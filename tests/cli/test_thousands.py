"""Numbers that may be written with decimal marks or with marks of thousands."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from symbias.cli import app
from symbias.cli.errors import InputError
from symbias.cli.read import read_csv


def table(folder: Path, separator: str, columns: dict[str, list[str]]):
    """A file with these columns, and one that counts."""
    rows = zip(*columns.values(), strict=True)
    lines = [separator.join(["t", *columns])]
    lines += [separator.join([str(i), *(f'"{c}"' for c in row)]) for i, row in enumerate(rows)]
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    return read_csv(folder / "data.csv")


THREE = ["1{}237", "12{}200", "950", "-1{}100", ""]


@pytest.mark.parametrize("mark", [".", ","])
def test_three_digits_after_one_mark_are_refused_between_semicolons(
    tmp_path: Path, mark: str
) -> None:
    found = table(tmp_path, ";", {"x": [c.format(mark) for c in THREE]})
    with pytest.raises(InputError) as caught:
        found.numbers("x", missing=True)
    assert f"row 2, column 'x': '1{mark}237' may be 1.237 or 1237: write the one" in str(caught)
    result = CliRunner().invoke(app, ["fit", str(found.path), "--penalty", "tv"])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("meant", ["1.2370", "1237"])
def test_what_the_refusal_says_is_read(tmp_path: Path, meant: str) -> None:
    cells = ["1.237", "2.400", "3.000"]
    found = table(tmp_path, ";", {"x": cells})
    with pytest.raises(InputError, match=meant):
        found.numbers("x")
    factor = 1 if "." in meant else 1000
    written = [f"{c}0" if factor == 1 else c.replace(".", "") for c in cells]
    values = table(tmp_path, ";", {"x": written}).numbers("x")
    np.testing.assert_array_equal(values, [1.237 * factor, 2.4 * factor, 3 * factor])


@pytest.mark.parametrize("other", ["0{}125", "1{}2", "1{}2345", "1234{}567", "-0{}100", "{}250",
                                   "01{}234", "1{}234e2"])  # fmt: skip
@pytest.mark.parametrize("mark", [".", ","])
def test_one_number_of_another_shape_settles_a_column(
    tmp_path: Path, mark: str, other: str
) -> None:
    cells = [c.format(mark) for c in ("1{}237", other, "2{}400")]
    values = table(tmp_path, ";", {"x": cells}).numbers("x")
    np.testing.assert_array_equal(values, [float(c.replace(",", ".")) for c in cells])


def test_another_column_settles_the_mark_of_the_file(tmp_path: Path) -> None:
    points, commas = ["1.237", "2.400", "3.100"], ["1,237", "2,400", "3,100"]
    kept = table(tmp_path, ";", {"x": points, "y": ["0.5", "", "2"]}).numbers("x")
    np.testing.assert_array_equal(kept, [1.237, 2.4, 3.1])
    kept = table(tmp_path, ";", {"x": commas, "y": ["0,5", "", "2"]}).numbers("x")
    np.testing.assert_array_equal(kept, [1.237, 2.4, 3.1])
    for cells, other in ((points, "0,5"), (commas, "0.5")):
        found = table(tmp_path, ";", {"x": cells, "y": [other, "", "2"]})
        with pytest.raises(InputError, match="separators of thousands; leave them out"):
            found.numbers("x")
    both = table(tmp_path, ";", {"x": points, "y": ["0,5", "", "2"], "z": ["0.5", "", "2"]})
    with pytest.raises(InputError, match=r"may be 1\.237 or 1237"):
        both.numbers("x")
    dates = {"x": points, "month": ["01.2020", "02.2020", "03.2020"], "name": ["a.5", "b", "2.5"]}
    with pytest.raises(InputError, match=r"may be 1\.237 or 1237"):
        table(tmp_path, ";", dates).numbers("x")


@pytest.mark.parametrize("separator", [",", "\t"])
def test_points_elsewhere_are_plain_decimals(tmp_path: Path, separator: str) -> None:
    values = table(tmp_path, separator, {"x": ["1.237", "2.400", "3.100"]}).numbers("x")
    np.testing.assert_array_equal(values, [1.237, 2.4, 3.1])


def test_several_marks_are_of_thousands(tmp_path: Path) -> None:
    for cells in (["1.237.000", "2.400", "3"], ["1,237,000", "2,400", "3"]):
        with pytest.raises(InputError, match=r"row 2, .* separators of thousands"):
            table(tmp_path, ";", {"x": cells}).numbers("x")


def test_addresses_are_no_numbers(tmp_path: Path) -> None:
    cells = ["192.168.100.100", "192.168.100.1", "10.0.0.1"]
    assert table(tmp_path, ";", {"x": cells}).plain("x") == cells
