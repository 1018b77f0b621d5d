import logging
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from utils.locating import folder as located
from utils.locating.folder import rank_folder
from utils.locating.locations import Location, read_locations
from utils.photos.images import ImageError

NAMES = ("broken.jpg", "large.jpg", "tagged.jpg", "z.jpg")


def test_every_photo_has_a_row_and_costs_only_itself(tmp_path, outcome, monkeypatch, caplog):
    (tmp_path / "photos").mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)

    def task(path):
        if path.name == "broken.jpg":
            raise ImageError("it is broken")
        problems = ["one place left out", "and another"] if path.name == "z.jpg" else []
        return SimpleNamespace(path=path, has_gps=path.name == "tagged.jpg", problems=problems)

    def rank_task(ranker, task, method, demand):
        assert (ranker, method, demand) == ("the ranker", "fused", None)
        if task.path.name == "large.jpg":
            raise torch.OutOfMemoryError("no room")
        return outcome

    monkeypatch.setattr(located, "rank_task", rank_task)
    arguments = tmp_path / "photos", tmp_path / "found.csv", "fused", {"ranker": "one"}
    with caplog.at_level(logging.INFO):
        rows = rank_folder("the ranker", SimpleNamespace(task=task), *arguments)
    # The answer's place, and its confidence within 200 km.
    placed = (-33.9, 151.2, "Sydney, Australia", 0.3, True)
    assert rows == read_locations(tmp_path / "found.csv")
    assert rows == [
        Location("broken.jpg", problem="it is broken"),
        Location("large.jpg", problem="does not fit into memory"),
        Location("tagged.jpg", *placed),
        Location("z.jpg", *placed, "one place left out; and another"),
    ]
    notes = [record.getMessage() for record in caplog.records if record.name == "utils.locating.folder"]
    assert notes == ["tagged.jpg has GPS coordinates in its EXIF; they are not used"]

    with pytest.raises(ValueError, match="was made otherwise"):
        rank_folder("the ranker", SimpleNamespace(task=task), *arguments[:3], {"ranker": "other"})
