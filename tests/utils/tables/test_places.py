import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.candidates import Candidate
from utils.tables.places import parse_places, read_places


def test_places_of_a_table(write, tmp_path):
    path = write(
        "place,longitude,latitude,image,note\n"
        '"Aosta, Italy",7.32,45.74,photos/a.jpg,x\n'
        ",6.7,44.2,,\n"
        "Nowhere,7,95,,\n"
        "text,here,44,,\n"
        "nan,nan,44,,\n"
        "short\n",
        encoding="utf-8-sig",
    )
    candidates, problems = read_places(path)
    assert candidates == [
        Candidate(45.74, 7.32, ("Aosta, Italy",), str(tmp_path / "photos" / "a.jpg"), source="csv"),
        Candidate(44.2, 6.7, source="csv"),
    ]
    assert [problem.split(": ")[:2] for problem in problems] == [[str(path), f"row {row}"] for row in (2, 3, 4, 5)]
    assert all(problem.endswith("; place left out") for problem in problems)
    assert "latitude 95" in problems[0]


def test_names_and_photos_need_not_be_known(write):
    assert read_places(write("latitude,longitude\n-33.9,151\n")) == ([Candidate(-33.9, 151.0, source="csv")], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column latitude, longitude; it is empty"),
        ("latitude,x\n1,2\n", "no column longitude; it has latitude, x"),
        ("id;lon;y\na;1;2\n", "no column latitude; it has id, lon, y"),
        ("lat,latitude,lon\n1,2,3\n", "columns lat and latitude may both be latitude: keep one of them"),
        ("latitude,LAT,lon\n1,2,3\n", "columns latitude and LAT may both be latitude: keep one of them"),
    ],
)
def test_no_table_of_places(write, text, message):
    with pytest.raises(ValueError, match=rf"table\.csv: {message}$"):
        read_places(write(text))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("latitude", "longitude"), [("lat", "lon"), ("LAT", "LON"), ("Latitude", "lng"), (" Lat", "Long ")]
)
def test_columns_and_delimiters_that_people_use(write, tmp_path, delimiter, latitude, longitude):
    text = f"Place,{longitude},{latitude},IMAGE\n Aosta ,7.32,45.74, a.jpg\n".replace(",", delimiter)
    place = Candidate(45.74, 7.32, ("Aosta",), str(tmp_path / "a.jpg"), source="csv")
    assert read_places(write(text)) == read_places(write(f"\n{text}\n")) == ([place], [])


def test_a_row_with_more_cells_than_columns_is_left_out(write):
    """Decimal commas between commas: 48,85 is no latitude 48 and longitude 85."""
    candidates, problems = read_places(write("latitude,longitude\n48,85,2,35\n41.9,12.5\n41,9,12\n1,2,\n"))
    assert candidates == [Candidate(41.9, 12.5, source="csv")]
    assert [problem.split(": ")[1:3] for problem in problems] == [
        [f"row {row}", "more cells than columns"] for row in (0, 2, 3)
    ]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=5), st.sampled_from(";\t"))
def test_decimal_commas(tmp_path_factory, points, delimiter):
    path = tmp_path_factory.mktemp("places") / "places.csv"
    rows = [delimiter.join(f"{number:.7f}".replace(".", ",") for number in point) for point in points]
    path.write_text("\n".join([f"lat{delimiter}lon", *rows]))
    candidates, problems = read_places(path)
    assert problems == []
    rounded = [tuple(float(f"{number:.7f}") for number in point) for point in points]
    assert [(candidate.latitude, candidate.longitude) for candidate in candidates] == rounded


def test_a_comma_that_may_be_none_of_decimals_is_named(write):
    candidates, problems = read_places(write("lat;lon\n48,85;2,35\n1.5;2\n"))
    assert [candidate.latitude for candidate in candidates] == [1.5]
    assert ["row 0: could not convert string to float: '48,85'" in problem for problem in problems] == [True]


def test_bytes_that_are_no_text_cost_their_place(tmp_path):
    path = tmp_path / "places.csv"
    path.write_bytes(b"latitude,longitude,place\n1,2,Orl\xe9ans\n3,4,Orl\xc3\xa9ans\n")
    candidates, problems = read_places(path)
    assert candidates == [Candidate(3, 4, ("Orléans",), source="csv")]
    assert problems == [f"{path}: row 0: place is not UTF-8: save the file as UTF-8; place left out"]


def test_places_of_a_list():
    candidates, problems = parse_places([(46.1, 7.07), (95, 7), [44, "x"], (44.2, 6.7)], ["a.jpg", None, "b.jpg", None])
    assert candidates == [
        Candidate(46.1, 7.07, image="a.jpg", source="list"),
        Candidate(44.2, 6.7, source="list"),
    ]
    assert [problem.split(": ")[0] for problem in problems] == ["CANDIDATE_COORDINATES[1]", "CANDIDATE_COORDINATES[2]"]
    assert all(problem.endswith("; place left out") for problem in problems)
    assert parse_places([(1, 2)]) == ([Candidate(1, 2, source="list")], [])
    assert parse_places([]) == ([], [])


def test_a_list_of_photos_is_as_long_as_that_of_places():
    with pytest.raises(ValueError, match="3 CANDIDATE_COORDINATES, but 1 CANDIDATE_IMAGES"):
        parse_places([(1, 2)] * 3, ["one.jpg"])


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"pipe: it is a pipe.*save it as a file"):
        read_places(str(tmp_path / "pipe"))


def test_an_underscore_belongs_to_no_number(tmp_path):
    (tmp_path / "places.csv").write_text("lat,lon\n1_0,2\n3,4\n")
    candidates, problems = read_places(str(tmp_path / "places.csv"))
    assert [(place.latitude, place.longitude) for place in candidates] == [(3.0, 4.0)]
    assert len(problems) == 1
    assert "row 0: '1_0' is no number" in problems[0]
