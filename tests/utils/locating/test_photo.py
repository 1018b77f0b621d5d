import io

import numpy as np
import pytest
from PIL import Image

from utils.locating.photo import Photo
from utils.photos.images import ImageError, open_image

ROTATED = 6


@pytest.fixture
def path(tmp_path, make_image):
    """A photo that lies on its side and says where it was taken."""
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    exif[0x8825] = {1: "N", 2: (46, 0, 0), 3: "E", 4: (7, 0, 0)}
    (tmp_path / "trip").mkdir()
    make_image(24, 16).save(tmp_path / "trip" / "q.png", exif=exif)
    return tmp_path / "trip" / "q.png"


def test_a_photo_is_the_same_from_a_path_bytes_or_pil(path):
    expected = open_image(path)
    assert expected.size == (16, 24)
    with Image.open(path) as picture:
        photos = [Photo.open(path), Photo.open(str(path)), Photo.open(path.read_bytes()), Photo.open(picture)]
    for photo in photos:
        assert photo.image.tobytes() == expected.tobytes()
        assert photo.has_gps
    assert [(photo.path, photo.id, photo.name) for photo in photos[:2]] == [(str(path), "q.png", "q.png")] * 2
    assert photos[2].name == photos[3].name
    assert photos[2].name.startswith("photo in memory ")
    assert Photo.open(path, "trip/q.png").id == "trip/q.png"


def test_pictures_of_other_kinds_are_converted(make_image):
    cmyk = make_image(8, 8).convert("CMYK")
    assert Photo.open(cmyk).image.tobytes() == cmyk.convert("RGB").tobytes()
    assert Photo.open(make_image(8, 8, 1)).name != Photo.open(make_image(8, 8, 2)).name
    assert not Photo.open(cmyk).has_gps


def test_what_is_no_photo_is_named(tmp_path):
    (tmp_path / "q.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"q\.jpg"):
        Photo.open(tmp_path / "q.jpg")
    with pytest.raises(ImageError, match="photo in memory: "):
        Photo.open(b"no photo")
    with pytest.raises(ImageError, match="photo in memory: 800 x 2 pixels are longer than 200 : 1"):
        Photo.open(Image.new("RGB", (800, 2)))
    with pytest.raises(ImageError, match="photo in memory: 0 x 0 pixels"):
        Photo.open(Image.new("RGB", (0, 0)))
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    with pytest.raises(ImageError, match="photo in memory"):
        Photo.open(file.getvalue()[:200])


@pytest.mark.parametrize("other", [bytearray(b"x"), np.zeros((8, 8, 3), np.uint8), None])
def test_what_can_be_no_photo_is_an_error_of_the_program(other):
    with pytest.raises(TypeError, match=f"a picture of PIL, no {type(other).__name__}"):
        Photo.open(other)
