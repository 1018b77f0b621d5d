import logging
from dataclasses import replace

from PIL import Image

from utils.locating.folder import locate_into
from utils.locating.locations import Location, read_locations
from utils.photos.images import ImageError

NAMES = ["broken.jpg", "tagged.jpg", "z.jpg"]


def test_every_photo_has_a_row_and_costs_only_itself(tmp_path, answer, caplog):
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)

    def locate_all(folder, names):
        assert (folder, names) == (tmp_path / "photos", NAMES)
        yield "broken.jpg", ImageError("it is broken\nand torn")
        yield "tagged.jpg", replace(answer, notes=("it has a note",), has_gps=True)
        yield "z.jpg", replace(answer, problems=("one place left out", "and another"))

    with caplog.at_level(logging.INFO):
        rows = locate_into(locate_all, {"ranker": "one"}, tmp_path / "photos", tmp_path / "found.csv")
    # The answer's place, and its confidence within 200 km.
    placed = (-33.9, 151.2, "Sydney, Australia", 0.3, True)
    assert rows == read_locations(tmp_path / "found.csv")
    assert rows == [
        Location("broken.jpg", problem="it is broken; and torn"),
        Location("tagged.jpg", *placed),
        Location("z.jpg", *placed, "one place left out; and another"),
    ]
    assert [record.getMessage() for record in caplog.records if record.name == "utils.locating.folder"] == [
        "tagged.jpg has GPS coordinates in its EXIF; they are not used",
        "tagged.jpg: it has a note",
    ]
