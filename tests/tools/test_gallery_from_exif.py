"""A folder of photos with coordinates in EXIF becomes a gallery."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.pictures import MARTIGNY
from tools.gallery_from_exif import main
from utils.tables.metadata import metadata_problems, read_metadata


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trip").mkdir()
    exif = Image.Exif()
    exif[0x8825] = MARTIGNY
    photo = Image.new("RGB", (8, 8))
    photo.save(tmp_path / "trip" / "b, c.JPG", exif=exif)
    photo.save(tmp_path / "a.png", exif=exif)
    photo.save(tmp_path / "plain.jpg")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "trip" / "film.MOV").write_bytes(b"no photo")
    photo.save(tmp_path / "trip" / "without extension", "JPEG", exif=exif)
    return tmp_path


def test_a_folder_becomes_a_gallery(folder: Path, capsys, caplog) -> None:
    assert main([str(folder), str(folder / "metadata.csv")]) == 0
    table = read_metadata(folder / "metadata.csv")
    assert metadata_problems(folder / "metadata.csv", table) == []
    assert table["IMG_ID"].tolist() == ["a.png", "trip/b, c.JPG", "trip/without extension"]
    assert table[["LAT", "LON"]].to_numpy().tolist() == [[46.1008333, 7.07]] * 3
    assert table[["city", "country"]].drop_duplicates().to_numpy().tolist() == [["Martigny-Ville", "Switzerland"]]
    output = capsys.readouterr().out
    assert "3 photos in 1 countries" in output
    assert f"{folder}: 2 files are no photos and are left alone (1 .txt, 1 .mov)" in caplog.messages
    assert "no GPS coordinates: 1 photos\n  plain.jpg\n" in output
    before = (folder / "metadata.csv").read_bytes()
    main([str(folder), str(folder / "metadata.csv")])
    assert (folder / "metadata.csv").read_bytes() == before


def test_damaged_photos_cost_only_themselves(folder: Path, capsys) -> None:
    (folder / "broken.jpg").write_bytes(b"no photo")
    exif = Image.Exif()
    exif[0x8825] = {2: (46, 6, 3), 4: (7, 4, 12)}
    Image.new("RGB", (8, 8)).save(folder / "sideless.jpg", exif=exif)
    assert main([str(folder), str(folder / "metadata.csv")]) == 1
    errors = capsys.readouterr().err
    assert "broken.jpg: not an image of a known format" in errors
    assert "sideless.jpg: GPSLatitudeRef is ''" in errors
    assert pd.read_csv(folder / "metadata.csv")["IMG_ID"].tolist() == [
        "a.png",
        "trip/b, c.JPG",
        "trip/without extension",
    ]


def test_a_folder_without_places_is_an_error(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.jpg")
    with pytest.raises(SystemExit, match="no photo with GPS coordinates"):
        main([str(tmp_path), str(tmp_path / "metadata.csv")])
    with pytest.raises(SystemExit, match="away is no folder"):
        main([str(tmp_path / "away"), str(tmp_path / "metadata.csv")])
    assert not (tmp_path / "metadata.csv").exists()
