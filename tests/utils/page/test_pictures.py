import base64
import io

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD

from tests.pictures import MARTIGNY, encoded, photo
from utils.page.pictures import Sizes, most_bytes, picture


def opened(uri: str) -> Image.Image:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(("size", "expected"), [((800, 400), (96, 48)), ((20, 50), (20, 50)), ((4000, 3), (96, 1))])
def test_a_picture_fits_and_is_not_enlarged(size, expected):
    assert opened(picture(Image.new("RGB", size), 96)).size == expected


def test_a_picture_has_no_exif():
    exif = Image.Exif()
    exif[IFD.GPSInfo] = MARTIGNY
    tagged = Image.open(io.BytesIO(encoded(photo(), "JPEG", exif=exif)))
    assert tagged.getexif()
    found = opened(picture(tagged, 96))
    assert not found.getexif()
    assert "exif" not in found.info


@pytest.mark.parametrize("side", [96, 160, 320, 960])
def test_even_noise_is_bounded(side):
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    assert len(picture(Image.fromarray(noise), side)) <= most_bytes(side)


def test_a_page_of_many_photos_is_bounded():
    for photos in (1, 2, 20, 21, 200, 201, 2000):
        sizes = Sizes.of(photos)
        assert photos * (most_bytes(sizes.photo) + sizes.candidates * most_bytes(sizes.evidence)) < 30e6
    assert most_bytes(Sizes.of(100_000).photo) < 6000
