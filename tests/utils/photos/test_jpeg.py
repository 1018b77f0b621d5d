import io

import numpy as np
import pytest
from PIL import Image

from tests.released import saved_as_jpeg
from utils.model.adapter_info import PUBLISHED_JPEG_QUALITY
from utils.photos.jpeg import as_jpeg


@pytest.mark.parametrize("size", [(1, 1), (17, 9), (64, 64), (333, 250)])
def test_the_published_quality_is_what_pil_writes_by_default(make_image, size):
    photo = make_image(*size)
    bytes_of = []
    for settings in ({}, {"quality": PUBLISHED_JPEG_QUALITY}):
        file = io.BytesIO()
        photo.save(file, "JPEG", **settings)
        bytes_of.append(file.getvalue())
    assert bytes_of[0] == bytes_of[1]
    encoded = as_jpeg(photo, PUBLISHED_JPEG_QUALITY)
    assert (encoded.mode, encoded.size) == ("RGB", size)
    assert encoded.tobytes() == saved_as_jpeg(photo).tobytes()


def test_quality_counts(make_image):
    photo = make_image(64, 64)
    pixels = np.asarray(photo).astype(float)
    errors = [np.abs(pixels - np.asarray(as_jpeg(photo, quality))).mean() for quality in (95, 75, 30)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_without_a_quality_it_is_the_photo_itself(make_image):
    photo = make_image(8, 8)
    assert as_jpeg(photo, None) is photo


def test_a_photo_too_long_for_a_jpeg_is_an_error():
    assert as_jpeg(Image.new("RGB", (65_500, 1)), 75).size == (65_500, 1)
    with pytest.raises(ValueError, match=r"65501 x 1 pixels do not go into a JPEG"):
        as_jpeg(Image.new("RGB", (65_501, 1)), 75)
