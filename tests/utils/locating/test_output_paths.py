from pathlib import Path

import pytest

from utils.jobs.files import write_json
from utils.locating.output_paths import ranking_paths, report_path, table_path


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("holidays/photo.jpg",), ("outputs/photo/ranking.json", "outputs/photo/map.png")),
        (("test_000437.jpg",), ("outputs/test_000437/ranking.json", "outputs/test_000437/map.png")),
        (("1.2@N00.jpeg",), ("outputs/1.2@N00/ranking.json", "outputs/1.2@N00/map.png")),
        (("photo.jpg", "results/a.json"), ("results/a.json", "results/a.png")),
        (("photo.jpg", None, "m.png"), ("outputs/photo/ranking.json", "m.png")),
        (("photo.jpg", "a.json", "m.png"), ("a.json", "m.png")),
    ],
)
def test_a_photo_names_its_folder_and_what_is_given_is_used(given, expected):
    assert ranking_paths(*given) == tuple(map(Path, expected))


def test_another_photo_of_the_same_name_is_refused(tmp_path):
    write_json("outputs/photo/ranking.json", {"photo": "holidays/photo.jpg"})
    for same in ("holidays/photo.jpg", "./holidays/photo.jpg", str(tmp_path / "holidays" / "photo.jpg")):
        ranking_paths(same)
    for other in ("photo.jpg", "work/photo.jpg", "holidays/photo.png"):
        with pytest.raises(ValueError, match=r"^outputs/photo/ranking\.json is of another photo, holidays/.* --output"):
            ranking_paths(other)
        ranking_paths(other, "mine.json")


@pytest.mark.parametrize("text", ["{", "[1]", '{"photo": 1, "photo": 2}'])
def test_a_file_that_is_no_ranking_is_named(text):
    Path("outputs/photo").mkdir(parents=True)
    Path("outputs/photo/ranking.json").write_text(text)
    with pytest.raises(ValueError, match=r"^outputs/photo/ranking\.json: "):
        ranking_paths("photo.jpg")


def test_a_folder_of_photos_names_its_table(tmp_path, monkeypatch):
    assert table_path("trips/alps/") == Path("outputs/alps/locations.csv")
    monkeypatch.chdir(tmp_path)
    assert table_path(".") == Path("outputs", tmp_path.name, "locations.csv")


@pytest.mark.parametrize(
    ("given", "beside", "expected"),
    [
        (None, "outputs/photo/ranking.json", None),
        ("", "outputs/photo/ranking.json", "outputs/photo/report.html"),
        ("", "outputs/alps/locations.csv", "outputs/alps/report.html"),
        ("", "results/a.json", "results/a.html"),
        ("page.html", "results/a.json", "page.html"),
    ],
)
def test_a_page_lies_beside_the_results_unless_it_is_said(given, beside, expected):
    assert report_path(given, Path(beside)) == (expected and Path(expected))
