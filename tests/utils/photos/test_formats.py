"""Which files are photos, by their content."""

import errno
import io
import os
import struct
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import MARTIGNY, encoded, photo, pixels
from utils.photos import formats
from utils.photos.exif import photo_coordinate
from utils.photos.formats import EXTENSIONS, UnknownFormat, list_photos, open_photo, photo_names
from utils.photos.images import ImageError, open_image
from utils.photos.store import ImageStore

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "JPEG2000", "BMP", "PPM", "MPO"]
HEIC = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"heic", 0, b"mif1", b"heic") + bytes(40)


def tiff(tag: int, value: int) -> bytes:
    """A TIFF of one grey pixel with one entry more, of 32 bits."""
    entries = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1} | {tag: value}
    table = b"".join(struct.pack("<HHII", number, 4, 1, entries[number]) for number in sorted(entries))
    return b"II*\0" + struct.pack("<IIH", 12, 7, len(entries)) + table + bytes(4)


@pytest.fixture
def without_heif(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._reads_heif.cache_clear()
    yield
    formats._reads_heif.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["photo", "photo.dat", "photo.JPG"])
def test_a_photo_is_one_whatever_its_name(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(photo(), kind))
    (tmp_path / "notes.txt").write_text("no photo")
    assert photo_names(tmp_path) == [name]
    alone = open_image(tmp_path / name)
    assert alone.size == photo().size
    gallery = ImageStore.from_paths([tmp_path])
    assert alone.tobytes() == gallery.open(name).tobytes()
    assert photo_coordinate(tmp_path / name) is None


@pytest.mark.parametrize("name", ["photo.txt", "photo.heic.txt"])
def test_names_alone_make_no_photo(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("P5 is a parking lot, and BM a museum.\n")
    (tmp_path / "film.mov").write_bytes(struct.pack(">I4s4sI4s", 20, b"ftyp", b"qt  ", 0, b"qt  ") + bytes(40))
    with pytest.raises(ValueError, match=r"no photo among 2 files \(JPEG, PNG, WebP, HEIC"):
        photo_names(tmp_path)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no photo among 0 files"):
        photo_names(tmp_path)
    (tmp_path / "a.jpg").touch()
    for other in ("a.jpg", "absent"):
        with pytest.raises(ValueError, match=f"{other} is no folder"):
            photo_names(tmp_path / other)


def test_what_is_left_alone_is_counted(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", "utils")
    (tmp_path / "sub").mkdir()
    for name, data in {"a.jpg": b"", "b.txt": b"x", "sub/c.TXT": b"", "sub/Makefile": b"all:"}.items():
        (tmp_path / name).write_bytes(data)
    assert photo_names(tmp_path) == ["a.jpg"]  # it says that it is one, and will be named where it is read
    assert list_photos(tmp_path).others == {".txt": 2, "Makefile": 1}
    said = f"{tmp_path}: 3 files are no photos and are left alone (2 .txt, 1 Makefile)"
    assert caplog.messages.count(said) == 1  # by one of the two
    for name in ("b.txt", "sub/c.TXT"):
        (tmp_path / name).unlink()
    photo_names(tmp_path)
    assert caplog.messages[-1] == f"{tmp_path}: 1 file is no photo and is left alone (1 Makefile)"


def test_folders_that_may_not_be_read_are_named(tmp_path: Path, caplog, monkeypatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.jpg").touch()
    scandir = os.scandir

    def refusing(path):  # root may read everything
        if Path(path).name in refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    refused = ["sub"]
    assert photo_names(tmp_path) == ["a.jpg"]
    assert caplog.messages == [f"{tmp_path / 'sub'}: this folder may not be read and is left alone"]
    refused = [tmp_path.name]
    with pytest.raises(PermissionError, match=tmp_path.name):
        photo_names(tmp_path)


def test_names_that_no_table_can_hold_are_left_out(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", "utils")
    for name in (b"a.jpg", b"caf\xe9.jpg"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    assert photo_names(tmp_path) == ["a.jpg"]
    assert "1 photo has a name that is not UTF-8 and is left alone" in caplog.text
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(ValueError, match="no photo among 1 files"):
        photo_names(tmp_path)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_ids_may_leave_out_every_extension(tmp_path: Path, extension: str) -> None:
    (tmp_path / f"one{extension}").write_bytes(encoded(photo()))
    assert (pixels(ImageStore.from_paths([tmp_path]).open("one")) == pixels(photo())).all()


@pytest.mark.parametrize(("tag", "value"), [(50706, 0x00000401), (254, 1)])  # DNGVersion, a reduced picture
def test_raw_photos_are_refused_and_not_their_previews_taken(tmp_path: Path, tag: int, value: int) -> None:
    for name, data in {"raw.dng": tiff(tag, value), "plain": tiff(254, 0)}.items():
        (tmp_path / name).write_bytes(data)
    assert photo_names(tmp_path) == ["plain"]
    assert pixels(open_image(tmp_path / "plain")).tolist() == [[[7, 7, 7]]]
    with pytest.raises(ImageError, match=r"raw\.dng: a camera's raw photo: export it as JPEG or TIFF"):
        open_image(tmp_path / "raw.dng")


def test_heic_without_the_extra_says_what_it_is_and_how_to_get_it(tmp_path: Path, without_heif) -> None:
    (tmp_path / "phone").write_bytes(HEIC)
    assert photo_names(tmp_path) == ["phone"]
    expected = r"phone: a HEIC photo, which needs pillow-heif: pip install -e '\.\[heif\]'"
    for read in (open_image, photo_coordinate):
        with pytest.raises(ImageError, match=expected):
            read(tmp_path / "phone")
    with pytest.raises(ImageError, match=r"phone in .*: a HEIC photo"):
        ImageStore.from_paths([tmp_path]).open("phone")


def test_avif_that_pillow_does_not_read_is_called_that(monkeypatch) -> None:
    monkeypatch.setattr(formats.features, "check", lambda name: False)
    with pytest.raises(UnknownFormat, match="an AVIF photo, which this Pillow cannot read: pip install -U pillow"):
        open_photo(io.BytesIO(encoded(photo(), "AVIF")))


def test_heic_with_the_extra(tmp_path: Path) -> None:
    """Pixels, rotation and place; the file states the rotation twice, and it is applied once."""
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112], exif[0x8825] = 6, MARTIGNY
    picture = pillow_heif.from_pillow(photo())
    picture.save(tmp_path / "phone", quality=-1, exif=exif.tobytes())
    assert photo_names(tmp_path) == ["phone"]
    found, expected = open_image(tmp_path / "phone"), photo().transpose(Image.Transpose.ROTATE_270)
    assert found.size == expected.size
    assert abs(pixels(found) - pixels(expected)).mean() < 8
    assert photo_coordinate(tmp_path / "phone") == (46.1008333, 7.07)
    (tmp_path / "phone").write_bytes((tmp_path / "phone").read_bytes()[:400])
    with pytest.raises(ImageError, match="phone: "):
        open_image(tmp_path / "phone")
