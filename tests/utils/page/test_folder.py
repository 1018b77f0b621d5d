import json

import pytest

from tests.located import answer
from tests.pictures import photo
from utils.page.folder import locate_with_page
from utils.photos.images import ImageError


class Stub:
    """A locator that is stopped before the photo of a name."""

    def __init__(self, stopped_at: str | None = None) -> None:
        self.stopped_at, self.identity = stopped_at, {"ranker": "one"}

    def locate_all(self, folder, names):
        for name in names:
            if name == self.stopped_at:
                raise KeyboardInterrupt
            yield name, ImageError(f"{folder / name}: is broken") if name == "b.jpg" else answer()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        photo().save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def entries(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('id="entries">')[1].split("</script>")[0])


def test_a_page_of_an_interrupted_run_has_all_photos(folder, tmp_path):
    table, page = tmp_path / "locations.csv", tmp_path / "report.html"
    with pytest.raises(KeyboardInterrupt):
        locate_with_page(Stub("c.jpg"), folder, table, page)
    assert not page.exists()
    rows = locate_with_page(Stub(), folder, table, page)
    found = entries(page)
    assert [one["name"] for one in found] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"] == [row.file for row in rows]
    assert [len(one.get("candidates", ())) for one in found] == [4, 0, 4, 4]
    assert all(one["photo"] for one in found)
    assert found[1]["ranking"]["problem"] == rows[1].problem == "is broken"
    # Others read all of it: no folder of this machine stands there.
    for made in (page, table, table.with_suffix(".geojson")):
        assert str(folder) not in made.read_text(encoding="utf-8")
    # What the page needs is in the log, and not in the table.
    assert "shown" not in table.read_text()
    assert "shown" in (tmp_path / "locations.csv.jsonl").read_text()


def test_photos_of_a_run_without_a_page_have_their_place(folder, tmp_path):
    table, page = tmp_path / "locations.csv", tmp_path / "report.html"
    with pytest.raises(KeyboardInterrupt):
        locate_with_page(Stub("c.jpg"), folder, table)
    locate_with_page(Stub(), folder, table, page)
    found = entries(page)
    assert [one["made"] is None for one in found] == [True, False, False, False]
    assert found[0]["photo"]["uri"].startswith("data:image/jpeg")
    assert found[0]["ranking"]["prediction"]["place"] == "Cascais, Portugal"


def test_without_a_page_nothing_is_kept_for_one(folder, tmp_path):
    locate_with_page(Stub(), folder, tmp_path / "locations.csv")
    assert "shown" not in (tmp_path / "locations.csv.jsonl").read_text()


def test_an_entry_of_another_version_is_not_shown(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.page.entry.FORMAT", 0)
    locate_with_page(Stub(), folder, tmp_path / "locations.csv", tmp_path / "old.html")
    monkeypatch.undo()
    locate_with_page(Stub(), folder, tmp_path / "locations.csv", tmp_path / "new.html")
    assert [one["made"] is None for one in entries(tmp_path / "new.html")] == [True, False, True, True]
