import pytest

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
    ("text", "missing"),
    [("", "latitude, longitude"), ("latitude,lon\n1,2\n", "longitude"), ("IMG_ID,longitude\na,1\n", "latitude")],
)
def test_no_table_of_places(write, text, missing):
    with pytest.raises(ValueError, match=rf"table\.csv: no column {missing}$"):
        read_places(write(text))


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
