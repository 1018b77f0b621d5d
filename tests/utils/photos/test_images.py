"""Decoding of every kind of photo."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import encoded, photo, pixels
from utils.photos.images import ImageError, open_image


def png(width, height, bit_depth, colour_type, rows, *chunks):
    """A PNG written by hand, for kinds that PIL cannot write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    )


# The transpose that undoes each EXIF orientation, by the EXIF standard's words for row 0 and column 0.
UPRIGHT = {
    1: lambda a: a,  # top, left
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda a: a.swapaxes(0, 1)[::-1],  # left, bottom
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_exif_rotation(orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(photo(), format, exif=exif))
    assert (pixels(image) == UPRIGHT[orientation](pixels(photo()))).all()


def test_exif_rotation_of_grey_16_bit():
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.arange(12, dtype=np.uint16).reshape(3, 4) * 257
    image = open_image(encoded(Image.fromarray(ramp), exif=exif))
    assert (pixels(image)[..., 0] == UPRIGHT[6](np.arange(12).reshape(3, 4))).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr", "1", "P"])
def test_modes(mode):
    image = photo().convert(mode)
    reopened = open_image(encoded(image, "TIFF"))
    assert (pixels(reopened) == pixels(image.convert("RGB"))).all()


def test_cmyk_jpeg_keeps_its_colours():
    """Ink, not light: read as RGB or uninverted, the picture would be a negative."""
    reopened = open_image(encoded(photo().convert("CMYK"), "JPEG", quality=95))
    assert np.abs(pixels(reopened) - pixels(photo())).mean() < 4


def test_alpha_lies_over_white():
    rgba = np.zeros((1, 4, 4), dtype=np.uint8)
    rgba[0, :, 0] = 200  # red
    rgba[0, :, 3] = [0, 51, 128, 255]
    expected = np.rint(255 + (np.array([200, 0, 0]) - 255) * np.array([0, 51, 128, 255])[:, None] / 255)
    for format in ("PNG", "TIFF"):
        assert np.abs(pixels(open_image(encoded(Image.fromarray(rgba), format))) - expected).max() <= 1


def test_grey_with_alpha_lies_over_white():
    image = Image.fromarray(np.array([[[100, 0], [100, 255]]], dtype=np.uint8), "LA")
    assert pixels(open_image(encoded(image))).tolist() == [[[255] * 3, [100] * 3]]


def test_transparent_palette_lies_over_white():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    expected = [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    for format in ("PNG", "GIF"):
        assert pixels(open_image(encoded(image, format, transparency=1))).tolist() == expected


def test_transparent_colour_lies_over_white():
    rows = [bytes([10, 20, 30, 40, 50, 60])]
    data = png(2, 1, 8, 2, rows, (b"tRNS", struct.pack(">HHH", 40, 50, 60)))
    assert pixels(open_image(data)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    data = png(2, 1, 8, 0, [bytes([7, 9])], (b"tRNS", struct.pack(">H", 9)))
    assert pixels(open_image(data)).tolist() == [[[7] * 3, [255] * 3]]


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled(dtype, format):
    grey = np.array([[0, 128, 129, 257, 32768, 65278, 65406, 65535]])
    mode = "I;16B" if dtype == ">u2" else "I;16"
    image = Image.frombytes(mode, (8, 1), grey.astype(dtype).tobytes())
    if format != "TIFF":
        image = image.convert("I").convert("I;16")
    expected = np.rint(grey / 65535 * 255)
    for channel in range(3):
        assert (pixels(open_image(encoded(image, format)))[..., channel] == expected).all()


def test_16_bit_colour_is_scaled():
    row = struct.pack(">6H", 0, 257 * 100, 65535, 257 * 7, 257 * 8, 257 * 9)
    assert pixels(open_image(png(2, 1, 16, 2, [row]))).tolist() == [[[0, 100, 255], [7, 8, 9]]]


@pytest.mark.parametrize(
    "image", [Image.new("F", (2, 2), 0.5), Image.new("I", (2, 2), 70_000), Image.new("I", (2, 2), -1)]
)
def test_pixels_without_a_range_are_refused(image):
    with pytest.raises(ImageError, match=r"depth\.tif: .*no defined range"):
        open_image(encoded(image, "TIFF"), "depth.tif")


def test_first_frame_of_an_animation():
    data = encoded(photo(seed=1), "PNG", save_all=True, append_images=[photo(seed=2)])
    assert (pixels(open_image(data)) == pixels(photo(seed=1))).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_truncated(format):
    data = encoded(photo(200, 150), format)
    with pytest.raises(ImageError, match=r"half\.img"):
        open_image(data[: len(data) // 2], "half.img")


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", bytes(1000), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_no_image(data, tmp_path):
    path = tmp_path / "page.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"page\.jpg"):
        open_image(path)


def test_no_file(tmp_path):
    with pytest.raises(ImageError, match=r"/absent\.jpg: No such file or directory$"):
        open_image(tmp_path / "absent.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")  # which nobody writes to
    for other in (tmp_path / "pipe.jpg", tmp_path):
        with pytest.raises(ImageError, match=f"{other}: no regular file"):
            open_image(other)


def test_decompression_bomb_is_refused_by_its_header():
    """A billion pixels in a hundred bytes, and one pixel over the limit; neither may be decoded first."""
    with pytest.raises(ImageError, match=r"bomb\.png: more than 268\.435 megapixels"):
        open_image(png(100_000, 10_000, 8, 0, [b""]), "bomb.png")


@pytest.mark.filterwarnings("error")
def test_photos_of_200_megapixels_are_decoded():
    """As phones take them; what stops this one is that it has no pixels, not how many it should have."""
    with pytest.raises(ImageError, match=r"phone\.png: image file is truncated"):
        open_image(png(16_320, 12_240, 8, 0, [b""]), "phone.png")


def test_a_strip_that_no_qwen_vl_takes_is_refused(tmp_path):
    for width, height in ((1206, 6), (2, 401)):
        Image.new("RGB", (width, height)).save(tmp_path / "strip.png")
        with pytest.raises(ImageError, match=rf"strip\.png: .*{width} x {height} pixels are longer than 200 : 1"):
            open_image(tmp_path / "strip.png")
    Image.new("RGB", (1200, 6)).save(tmp_path / "strip.png")
    assert open_image(tmp_path / "strip.png").size == (1200, 6)


def test_decompression_limit_holds_whatever_pil_is_told(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(
        ImageError, match=r"bomb\.png: 16384 x 16385 pixels, 268\.452 megapixels, are more than 268\.435"
    ):
        open_image(png(16_384, 16_385, 8, 0, [b""]), "bomb.png")


def test_path_bytes_and_file_are_the_same(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo()))
    with open(path, "rb") as file:
        images = [open_image(path), open_image(str(path)), open_image(path.read_bytes()), open_image(file)]
    assert all((pixels(image) == pixels(photo())).all() for image in images)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF"]), st.data())
def test_damaged_bytes_decode_or_name_the_photo(format, data):
    exif = Image.Exif()
    exif[0x0112] = 6
    damaged = bytearray(encoded(photo(), format, exif=exif))
    for place in data.draw(st.lists(st.integers(0, min(len(damaged), 400) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    try:
        assert open_image(bytes(damaged), "damaged.img").mode == "RGB"
    except ImageError as error:
        assert str(error).startswith("damaged.img: ")  # noqa: PT017
