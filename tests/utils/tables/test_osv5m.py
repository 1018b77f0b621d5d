"""Rows of OSV-5M's tables, good and bad."""

import pytest

from tests.osv5m import CHATHAM, COLUMNS, row, write_table
from utils.photos.credit import Credit
from utils.tables.imported_photo import ImportedPhoto
from utils.tables.osv5m import read_areas, read_osv5m

CC = ("CC BY-SA 4.0", "https://creativecommons.org/licenses/by-sa/4.0/")


def test_the_example_of_the_data_set(tmp_path):
    (tmp_path / "train.csv").write_text(",".join(COLUMNS) + "\n" + CHATHAM + "\n")
    source = "https://www.mapillary.com/app/?pKey=3859149887465501"
    assert list(read_osv5m(tmp_path / "train.csv")) == [
        ImportedPhoto(
            "3859149887465501.jpg",
            -43.804769384023,
            -176.61409250805,
            ("", "Waitangi", "", "Chatham Islands", "", "New Zealand"),
            "q",
            Credit("roadroid", "111336221091714", *CC, source),
        )
    ]


def test_names_are_on_one_line_and_codes_of_countries_are_names(tmp_path):
    rows = [row(1, 1, 2, city=" A\n b ", country="NA", **{"sub-region": "c"}), row(2, 1, 2, country="Atlantis")]
    texts = [photo.texts for photo in read_osv5m(write_table(tmp_path / "t.csv", rows))]
    assert texts == [("", "A b", "c", "", "", "Namibia"), ("", "", "", "", "", "Atlantis")]


def test_bad_rows_are_named_and_cost_only_themselves(tmp_path):
    path = tmp_path / "test.csv"
    bad = [row(0, "north", 1), row(1, 91, 1), row(2, "nan", 1), row(3, "", ""), row(4, 1, 2) | {"id": "../x"}]
    write_table(path, [*bad, row(5, 1, 2)])
    with open(path, "ab") as file:
        file.write(b"7,1,2," + b"x," * 40 + b"\n8,3,4,\xff\n9,5\n10,6,7\n")
    found = list(read_osv5m(path))
    assert [photo.image_id for photo in found if isinstance(photo, ImportedPhoto)] == ["1000000000000005.jpg", "10.jpg"]
    problems = [str(problem) for problem in found if isinstance(problem, ValueError)]
    for number, name, reason in [
        (0, "1000000000000000", "latitude, longitude: could not convert string to float: 'north'"),
        (1, "1000000000000001", "latitude, longitude: "),
        (2, "1000000000000002", "latitude, longitude: "),
        (3, "1000000000000003", "latitude, longitude: "),
        (4, "../x", "id: no number"),
        (6, "7", "more cells than columns"),
        (7, "8", "thumb_original_url is not UTF-8"),
        (8, "9", "latitude, longitude: "),
    ]:
        assert problems.pop(0).startswith(f"{path}: row {number} ({name}): {reason}")
    assert not problems


def test_a_carriage_return_without_quotes_costs_its_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'id,latitude,longitude,city\r\n1,1,2,a\r\n2,1,2,a\rb\r\n3,1,2,"a\rb"\r\n')
    first, second, third = read_osv5m(path)
    assert (first.image_id, first.where) == ("1.jpg", f"{path}: row 0 (1)")
    assert str(second) == f"{path}: row 1: a carriage return in a cell without quotes"
    assert (third.image_id, third.texts[1], third.where) == ("3.jpg", "a b", f"{path}: row 2 (3)")
    path.write_bytes(b"id,latitude,longitude\r1,1,2\r")
    with pytest.raises(ValueError, match=r"t\.csv: its lines end in carriage returns"):
        next(read_osv5m(path))


def test_another_table_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("IMG_ID,LAT,LON\n")
    with pytest.raises(ValueError, match=r"t\.csv: no column id"):
        next(read_osv5m(tmp_path / "t.csv"))


def test_labels_of_areas_and_rows_that_have_none(tmp_path):
    path = tmp_path / "test.csv"
    levels = [f"unique_{level}" for level in ("country", "region", "sub-region", "city")]
    lines = [f"id,{','.join(levels)},note", "1,FR,,nan,Paris_nan,x", "2,FR,a,b", "1,DE,a,b,c,x", "3,FR,a,b,c,x,y"]
    text = "\n".join([*lines, "9,FR", "", "4,FR,a,\udcff,c,x", "5,DE,a,b,c,\udcff"])
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    areas, problems = read_areas(path, [f"{number}.jpg" for number in range(1, 8)])
    assert areas == {"1.jpg": ("FR", "", "", "Paris_nan"), "5.jpg": ("DE", "a", "b", "c")}
    assert problems == [
        f"{path}: row 1 (2): fewer cells than columns; left out",
        f"{path}: row 2 (1): a photo of this id was there before; left out",
        f"{path}: row 3 (3): more cells than columns: "
        "is there a comma in a number, or in a text without quotes?; left out",
        f"{path}: row 5 (4): unique_sub-region is not UTF-8: save the file as UTF-8; left out",
    ]
    for rows in ("", "8,FR,a,b,c,x\n", "1,,nan,,,x\n"):
        path.write_text(f"{lines[0]}\n{rows}")
        (problem,) = read_areas(path, ["1.jpg"])[1]
        assert problem == f"{path}: it has a label for none of the 1 queries: is it of another benchmark?"
