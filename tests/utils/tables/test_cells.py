import ast
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.tables.cells import parse_coordinates, parse_list, parse_truth, plain, read_rows, shortened, write_rows

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(texts, st.floats(allow_nan=False, allow_infinity=False)), max_size=4))
def test_rows_read_back(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    write_rows(path, ["IMG_ID", "LAT", "more"], [{"IMG_ID": name, "LAT": number} for name, number in cells])
    assert [(where, row["IMG_ID"], float(row["LAT"]), row["more"]) for where, row in read_rows(path, ["LAT"])] == [
        (f"{path}: row {number} ({name})", name, value, "") for number, (name, value) in enumerate(cells)
    ]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("as it was")

    def rows():
        yield {"IMG_ID": "a"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(path, ["IMG_ID"], rows())
    assert [file.read_text() for file in tmp_path.iterdir()] == ["as it was"]


def test_a_missing_column_and_what_is_no_text_name_the_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("IMG_ID,LAT\na,1\n", encoding="utf-8-sig")
    with pytest.raises(ValueError, match=r"table\.csv: no column LON, city$"):
        list(read_rows(path, ["IMG_ID", "LON", "city"]))
    path.write_bytes(b"IMG_ID,LAT\n\xff,1\n")
    with pytest.raises(ValueError, match=r"table\.csv: .*utf-8"):
        list(read_rows(path, ["IMG_ID"]))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({None: ["surplus"]}, "more cells than columns"),
        ({"IMG_ID": ""}, "IMG_ID: empty"),
        ({"LAT": ""}, "LAT, LON: "),
        ({"LAT": "nan"}, "LAT, LON: "),
        ({"LON": "180.5"}, "LAT, LON: longitude 180.5"),
    ],
)
def test_a_truth_that_cannot_be_used(cells, message):
    row = {"IMG_ID": "a", "LAT": "46.10", "LON": "-7"}
    assert parse_truth(row) == (46.1, -7.0)
    with pytest.raises(ValueError, match=message):
        parse_truth(row | cells)


def test_lists_are_literals():
    items = parse_list({"c": " [nan, -inf, 'a', (1, 2)] "}, "c")
    assert math.isnan(items[0])
    assert items[1:] == [-math.inf, "a", (1, 2)]
    assert parse_list({"c": "(1, 2)"}, "c") == [1, 2]
    assert parse_list({"c": " "}, "c") == parse_list({}, "c") == []


@pytest.mark.parametrize("cell", ["[1", "{'a': 1}", "5", "'text'", "[name]", "[1 + 1]", "(" * 5000])
def test_what_is_no_list_names_its_column(cell):
    with pytest.raises(ValueError, match=r"^c: .* is not a"):
        parse_list({"c": cell}, "c")


def test_nothing_in_a_cell_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="not a Python literal"):
        parse_list({"c": "[open('trace', 'w')]"}, "c")
    assert os.listdir(tmp_path) == []


def test_an_unusable_coordinate_costs_no_other():
    problems = []
    cells = {"c": "[(1, 2), (91, 0), '[3.5, 4.5]', None]"}
    assert parse_coordinates(cells, "c", "t.csv: row 0 (a)", problems) == [(1, 2), (3.5, 4.5)]
    starts = [f"t.csv: row 0 (a): c[{number}]: " for number in (1, 3)]
    assert [problem.startswith(start) for problem, start in zip(problems, starts, strict=True)] == [True, True]
    assert all(problem.endswith("; candidate dropped") for problem in problems)


def test_coordinates_are_written_as_literals():
    points = plain(np.array([[0.1 + 0.2, -1e-7]]))
    assert ast.literal_eval(str(points)) == points == [(0.30000000000000004, -1e-07)]


def test_long_text_is_cut_for_messages():
    assert shortened("a'b") == repr("a'b")
    assert shortened("x" * 60) == repr("x" * 60)
    assert shortened("x" * 61) == repr("x" * 60 + "...")
