"""The table of a folder's photos: what is in it after interruptions, and what the map shows of it."""

import csv
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from utils.locating.locations import COLUMNS, Location, locate_photos, read_locations, write_geojson

SETTINGS = {"ranker": "one"}
PLACE = 'Aosta, "Valle" d\'Aosta, Ítalia'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos" / "trip").mkdir(parents=True)
    for name in ("a.jpg", "b, c.JPG", "trip/d.png", "trip/e.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    return tmp_path / "photos"


def log_of(table: Path) -> Path:
    return table.with_name(f"{table.name}.jsonl")


def each(one: Callable[[str], Location]) -> Callable[[Sequence[str]], Iterable[Location]]:
    return lambda names: map(one, names)


def located(name: str) -> Location:
    if name == "trip/d.png":
        return Location(name, problem="trip/d.png: cannot be read")
    return Location(name, 45.74 + len(name), -7.32, PLACE, 0.25, False, "one place left out" if name == "a.jpg" else "")


def test_a_row_a_photo(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "found" / "locations.csv"
    rows = locate_photos(folder, table, each(located), SETTINGS)
    expected = [located(name) for name in ("a.jpg", "b, c.JPG", "trip/d.png", "trip/e.jpg")]
    assert rows == read_locations(table) == expected
    with open(table, encoding="utf-8", newline="") as file:
        first, *lines = csv.reader(file)
    assert first == COLUMNS
    assert lines[0] == ["a.jpg", "50.74", "-7.32", PLACE, "0.25", "False", "one place left out"]
    assert lines[2] == ["trip/d.png", "", "", "", "", "", "trip/d.png: cannot be read"]

    text = (tmp_path / "found" / "locations.geojson").read_text(encoding="utf-8")
    assert text.startswith(
        '{\n "type": "FeatureCollection",\n "features": [\n  {\n   "type": "Feature",\n   "geometry": {\n'
    )
    collection = json.loads(text)
    assert collection["type"] == "FeatureCollection"
    assert {feature["type"] for feature in collection["features"]} == {"Feature"}
    assert collection["features"][0]["geometry"] == {"type": "Point", "coordinates": [-7.32, 50.74]}
    assert collection["features"][1]["properties"] == {
        "file": "b, c.JPG",
        "place": PLACE,
        "confidence": 0.25,
        "answered": False,
        "problem": "",
    }
    assert collection["features"][2]["geometry"] is None
    assert collection["features"][2]["properties"]["problem"] == "trip/d.png: cannot be read"


@pytest.mark.parametrize("torn", [b"", b'{"file":"trip/e', b'{"file":"trip/e.jpg","latitude":45.7', b"\xc3"])
def test_an_interrupted_run_goes_on(folder: Path, tmp_path: Path, caplog, torn: bytes) -> None:
    caplog.set_level(logging.INFO)
    whole = locate_photos(folder, tmp_path / "whole.csv", each(located), SETTINGS)
    table, asked = tmp_path / "locations.csv", []

    def stopped(name: str) -> Location:
        if name == "trip/e.jpg":
            raise KeyboardInterrupt
        return located(name)

    with pytest.raises(KeyboardInterrupt):
        locate_photos(folder, table, each(stopped), SETTINGS)
    assert read_locations(table) == whole[:3]
    features = json.loads(table.with_suffix(".geojson").read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["file"] for feature in features] == [row.file for row in whole[:3]]
    with open(log_of(table), "ab") as file:
        file.write(torn)

    def counted(name: str) -> Location:
        asked.append(name)
        return located(name)

    assert locate_photos(folder, table, each(counted), SETTINGS) == whole
    assert asked == ["trip/d.png", "trip/e.jpg"]  # the former had a problem, which may be gone
    assert "2 of 4 photos are in" in caplog.text
    for suffix in (".csv", ".geojson"):
        assert table.with_suffix(suffix).read_bytes() == (tmp_path / "whole").with_suffix(suffix).read_bytes()
    assert locate_photos(folder, table, each(counted), SETTINGS) == whole
    assert asked == ["trip/d.png", "trip/e.jpg", "trip/d.png"]


def test_rows_are_on_disk_while_it_runs_and_nobody_else_writes(folder: Path, tmp_path: Path) -> None:
    """The table is there in the end only; what a killed run leaves is its log."""
    table, logged = tmp_path / "locations.csv", []

    def looking(name: str) -> Location:
        logged.append([json.loads(line)["file"] for line in log_of(table).read_bytes().splitlines()[1:]])
        assert not table.exists()
        with pytest.raises(ValueError, match=r"locations\.csv\.jsonl is being written by process \d+ on "):
            locate_photos(folder, table, each(located), SETTINGS)
        return located(name)

    rows = locate_photos(folder, table, each(looking), SETTINGS)
    names = [row.file for row in rows]
    assert logged == [names[:count] for count in range(4)]
    whole = table.read_bytes()
    table.unlink()
    assert locate_photos(folder, table, each(located), SETTINGS) == rows
    assert table.read_bytes() == whole


@pytest.mark.parametrize("older", [False, True])
def test_a_table_without_its_log_is_not_adopted(folder: Path, tmp_path: Path, older: bool) -> None:
    """Older tables have their settings beside them, in a JSON file."""
    table = tmp_path / "locations.csv"
    locate_photos(folder, table, each(located), SETTINGS)
    log_of(table).unlink()
    if older:
        table.with_suffix(".json").write_text(json.dumps({"folder": str(folder.resolve()), **SETTINGS}))
    before = table.read_bytes()
    with pytest.raises(ValueError, match=r"locations\.csv was made otherwise .*: write to another file or remove it"):
        locate_photos(folder, table, each(located), SETTINGS)
    assert table.read_bytes() == before
    assert not log_of(table).exists()


def test_another_table_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "locations.csv"
    table.write_text("IMG_ID,LAT,LON\na.jpg,1,2\n")
    with pytest.raises(ValueError, match=r"locations\.csv has other columns"):
        locate_photos(folder, table, each(located), SETTINGS)
    assert table.read_text() == "IMG_ID,LAT,LON\na.jpg,1,2\n"


@pytest.mark.parametrize(
    ("other", "settings", "difference"),
    [("trip", SETTINGS, "folder .*photos, not .*trip"), ("", {"ranker": "other"}, "ranker one, not other")],
)
def test_a_table_of_other_photos_or_another_ranker_is_not_continued(
    folder: Path, tmp_path: Path, other: str, settings: dict, difference: str
) -> None:
    table = tmp_path / "locations.csv"
    locate_photos(folder, table, each(located), SETTINGS)
    before = table.read_bytes()
    with pytest.raises(ValueError, match=rf"locations\.csv was made otherwise \({difference}"):
        locate_photos(folder / other, table, each(located), settings)
    assert table.read_bytes() == before


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8)
points = st.floats(-90, 90), st.floats(-180, 180)
placed = st.builds(Location, texts, *points, texts, st.floats(0, 1), st.booleans(), texts)
locations = st.lists(placed | st.builds(Location, texts, problem=texts), max_size=4)


@settings(deadline=None, max_examples=50)
@given(locations)
def test_every_row_reads_back(tmp_path_factory, rows: list[Location]) -> None:
    folder = tmp_path_factory.mktemp("locations")
    with open(folder / "rows.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([getattr(row, column) for column in COLUMNS] for row in rows)
    assert read_locations(folder / "rows.csv") == rows
    write_geojson(folder / "rows.geojson", rows)
    features = json.loads((folder / "rows.geojson").read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["file"] for feature in features] == [row.file for row in rows]
    for row, feature in zip(rows, features, strict=True):
        if row.latitude is None:
            assert feature["geometry"] is None
        else:
            assert feature["geometry"]["coordinates"] == [row.longitude, row.latitude]


def test_a_folder_without_a_photo_is_an_error_and_leaves_no_files(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    with pytest.raises(ValueError, match="photos: no photo among 1 files"):
        locate_photos(tmp_path / "photos", tmp_path / "locations.csv", Location, {})
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
