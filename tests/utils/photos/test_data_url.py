import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from utils.photos.data_url import encoded, lossless
from utils.photos.images import ImageError, open_image


def file_of(photo: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    photo.save(file, kind, **options)
    return file.getvalue()


def read(url: str) -> tuple[str, bytes]:
    head, _, data = url.partition(";base64,")
    return head, base64.b64decode(data)


def as_others_see_it(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


@pytest.mark.parametrize("exif", [b"", Image.Exif().tobytes()])
def test_a_plain_jpeg_is_sent_as_it_is(exif, make_image):
    data = file_of(make_image(40, 30), "JPEG", exif=exif)
    assert read(lossless(data)) == ("data:image/jpeg", data)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {"exif": rotated()}),
        ("CMYK", "JPEG", {}),
        ("L", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("P", "GIF", {}),
        ("RGB", "WEBP", {"lossless": True}),
    ],
)
def test_others_are_sent_with_the_pixels_that_they_have_here(mode, kind, options, make_image):
    data = file_of(make_image(40, 30).convert(mode), kind, **options)
    head, sent = read(lossless(data))
    assert head == "data:image/png"
    assert np.array_equal(as_others_see_it(sent), np.asarray(open_image(data)))


def test_a_jpeg_that_others_cannot_read(make_image):
    data = file_of(make_image(40, 30), "JPEG")[:-2]  # without its end
    head, sent = read(lossless(data))
    assert np.array_equal(as_others_see_it(sent), np.asarray(open_image(data))), head


def test_an_unreadable_photo_is_named():
    with pytest.raises(ImageError, match=r"^p\.jpg: "):
        lossless(b"no photo", "p.jpg")


def test_a_chosen_quality(make_image):
    head, data = read(encoded(make_image(40, 30), "JPEG", quality=75))
    assert head == "data:image/jpeg"
    assert data == file_of(make_image(40, 30), "JPEG", quality=75)
