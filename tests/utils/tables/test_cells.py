import ast
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.tables.cells import (
    parse_coordinates,
    parse_list,
    parse_truth,
    plain,
    read_coordinate,
    read_rows,
    shortened,
    write_rows,
)

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
    with pytest.raises(ValueError, match=r"table\.csv: no column LON, city; it has IMG_ID, LAT$"):
        list(read_rows(path, ["IMG_ID", "LON", "city"]))
    path.write_bytes("IMG_ID,LAT\na,1\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"table\.csv: the header is not UTF-8: save the file as UTF-8$"):
        list(read_rows(path, ["IMG_ID"]))


def test_a_row_that_is_no_text_costs_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"IMG_ID,LAT,LON,city\na,1,2,Orl\xe9ans\n\xe9,1,2,\nc,1,2,Orl\xc3\xa9ans\n")
    rows = list(read_rows(path, ["IMG_ID", "LAT", "LON"]))
    assert [where for where, _ in rows] == [f"{path}: row {number} ({name})" for number, name in enumerate("a?c")]
    for (_, cells), column in zip(rows, ("city", "IMG_ID"), strict=False):
        with pytest.raises(ValueError, match=f"^{column} is not UTF-8: save the file as UTF-8$"):
            parse_truth(cells)
    assert (parse_truth(rows[2][1]), rows[2][1]["city"]) == ((1, 2), "Orléans")


def test_a_cell_may_be_longer_than_csv_allows(tmp_path):
    path = tmp_path / "table.csv"
    words = "x" * 200_000
    write_rows(path, ["IMG_ID", "more"], [{"IMG_ID": "a", "more": words}])
    [(_, cells)] = read_rows(path, ["IMG_ID"])
    assert cells["more"] == words


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
    assert [parse_list({"c": cell}, "c") for cell in ("nan", "None", " NaN ")] == [[], [], []]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.str_])
def test_lists_that_numpy_wrote(dtype):
    items = [(dtype(45), dtype(-112)), (dtype(1), dtype(2))]
    assert "np." in repr(items)
    assert parse_list({"c": repr(items)}, "c") == items
    rows = [np.array(point, dtype) for point in items]
    assert parse_list({"c": repr(rows)}, "c") == [list(point) for point in items]


def test_coordinates_that_numpy_wrote():
    points = [(np.float64(45.21), np.float64(112.58)), (np.float64(np.nan), np.float64(1))]
    problems = []
    cells = {"c": repr(points)}
    assert parse_coordinates(cells, "c", "row", problems) == [(45.21, 112.58)]
    assert len(problems) == 1
    assert read_coordinate(repr([np.float64(45.21), np.float64(112.58)])) == (45.21, 112.58)


@pytest.mark.parametrize(
    "cell", ["[1", "{'a': 1}", "5", "'text'", "[name]", "[1 + 1]", "[np.float64()]", "[np.save(1)]", "(" * 5000]
)
def test_what_is_no_list_names_its_column(cell):
    with pytest.raises(ValueError, match=r"^c: .* is not a"):
        parse_list({"c": cell}, "c")


def test_nothing_in_a_cell_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in ("open('trace', 'w')", "np.float64(open('trace', 'w'))", "open('trace', 'w').float64(1)"):
        with pytest.raises(ValueError, match="not a Python literal"):
            parse_list({"c": f"[{call}]"}, "c")
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
