import logging

import pytest

from tests.utils.training.test_groups import make_row
from utils.training.georanking import write_georanking
from utils.training.groups import GroupRule
from utils.training.rows import GalleryFile, RowFile, TrainingData, report, usable_rows


def test_unusable_rows_are_named_and_the_others_stay():
    rows = [make_row(0), make_row(1, references=12), make_row(2), make_row(3), make_row(4, references=13)]
    photos = {image for row in rows for image in (row.img_id, *row.ref_img_id)}
    photos -= {"query_2.jpg", "ref_3_12.jpg", "ref_0_0.jpg", "ref_0_13.jpg"}
    usable, problems = usable_rows(rows, GroupRule(group_size=6, hard_pool=12), photos)
    # Positions 0 and 13 of row 0 are never shown, so their photos need not exist.
    assert [row.img_id for row in usable] == ["query_0.jpg", "query_4.jpg"]
    assert problems == [
        "query_1.jpg: 12 references, 13 needed",
        "query_2.jpg: no photo query_2.jpg",
        "query_3.jpg: no photo ref_3_12.jpg",
    ]


@pytest.fixture
def data(tmp_path) -> TrainingData:
    """Four rows to train on, of which three are read, one of validation, and a gallery with a row without place."""
    write_georanking(tmp_path / "train.parquet", [make_row(number, references=8) for number in range(4)])
    write_georanking(tmp_path / "val.parquet", [make_row(9, references=8)])
    lines = ["IMG_ID,LAT,LON,country", "a.jpg,1,2,Land", "b.jpg,3,x,Land", "ref_0_1.jpg,5,6,Land"]
    (tmp_path / "gallery.csv").write_text("\n".join(lines) + "\n")
    return TrainingData(
        RowFile.read(tmp_path / "train.parquet", 3),
        RowFile.read(tmp_path / "val.parquet"),
        GalleryFile.read(tmp_path / "gallery.csv"),
    )


def test_what_is_shown_is_listed_once(data):
    shown = data.candidate_photos(GroupRule(group_size=2, hard_pool=3))
    of_pool = [f"ref_{row}_{position}.jpg" for row in (0, 1, 2, 9) for position in (1, 2, 3)]
    assert sorted(shown) == sorted(["a.jpg", *of_pool]), "ref_0_1.jpg is in the gallery, too"
    assert data.query_photos() == [f"query_{row}.jpg" for row in (0, 1, 2, 9)]
    alone = TrainingData(data.training).candidate_photos(GroupRule())
    assert alone == [f"ref_{row}_{position}.jpg" for row in range(3) for position in range(1, 6)]


def test_what_can_be_used_is_cut_and_reported(data, tmp_path, caplog):
    caplog.set_level(logging.INFO, "utils")
    rule = GroupRule(group_size=2)
    known = {*data.query_photos(), *data.candidate_photos(rule)} - {"query_1.jpg", "a.jpg"}
    usable = data.usable(rule, known)
    assert [row.img_id for row in usable.training.rows] == ["query_0.jpg", "query_2.jpg"]
    assert [row.img_id for row in usable.validation.rows] == ["query_9.jpg"]
    assert usable.gallery.photos.ids == ["ref_0_1.jpg"]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", f"{tmp_path}/train.parquet: 2 usable, 1 problems"),
        ("WARNING", "  query_1.jpg: no photo query_1.jpg"),
        ("INFO", f"{tmp_path}/val.parquet: 1 usable, 0 problems"),
        ("INFO", f"{tmp_path}/gallery.csv: 1 usable, 1 problems"),
        ("WARNING", "  no photo a.jpg"),
    ]
    assert TrainingData(data.training).usable(rule, known) == TrainingData(usable.training)


def test_rows_without_place_are_no_gallery(tmp_path, data, caplog):
    caplog.set_level(logging.INFO, "utils")
    assert GalleryFile.read(tmp_path / "gallery.csv").photos.ids == ["a.jpg", "ref_0_1.jpg"]
    note, problem = caplog.messages
    assert note == f"{tmp_path}/gallery.csv: 2 usable, 1 problems"
    assert "row 1 (b.jpg): LAT, LON: not a coordinate" in problem


def test_a_file_without_usable_row_is_an_error(data, caplog):
    with pytest.raises(ValueError, match=r"train\.parquet: no usable row"):
        data.usable(GroupRule(), set())
    assert "query_2.jpg: no photo query_2.jpg" in caplog.text, "said before"


def test_a_report_is_short_and_given_by_one_process(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "utils")
    report("photos", 12345, [f"problem {number}" for number in range(2022)])
    assert len(caplog.messages) == 22
    assert caplog.messages[0] == "photos: 12,345 usable, 2,022 problems"
    assert caplog.messages[-2:] == ["  problem 19", "  ... and 2,002 more"]
    caplog.clear()
    monkeypatch.setenv("RANK", "1")
    report("photos", 1, ["problem"])
    assert caplog.messages == []
