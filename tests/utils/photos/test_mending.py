"""Damage beside the pixels costs none; missing pixels are never made up."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import encoded, photo, pixels
from utils.photos.images import ImageError, open_image
from utils.photos.mending import mended

WAYS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 2},
    "full colour": {"subsampling": 0, "quality": 95},
    "optimised": {"optimize": True, "quality": 30},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_has_all_pixels(way, mode, missing):
    data = encoded(photo(41, 29).convert(mode), "JPEG", **WAYS[way])
    with pytest.raises(OSError, match="truncated"), Image.open(io.BytesIO(data[:-missing])) as image:
        image.load()
    assert (pixels(open_image(data[:-missing])) == pixels(open_image(data))).all()


@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_that_lacks_pixels_is_refused(way):
    """At every byte but the last of the data, of which some photos do not need the last bits."""
    data = encoded(photo(), "JPEG", **WAYS[way])
    for end in range(2, len(data) - 3, 5):
        with pytest.raises(ImageError, match=r"cut\.jpg"):
            open_image(data[:end], "cut.jpg")


def test_a_progressive_jpeg_without_its_last_scans_is_refused():
    """Cut between two scans, nothing is wrong with any of its bytes."""
    data = encoded(photo(), "JPEG", progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    tables = [data.rindex(b"\xff\xc4", 0, scan) for scan in scans[1:]]
    assert len(tables) > 3
    for end in tables:
        with pytest.raises(ImageError):
            open_image(data[:end])


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"U"])
def test_a_download_that_never_came_to_its_end_is_refused(filler):
    """The file has its full size, but what did not arrive was never written."""
    data = encoded(photo(200, 150), "JPEG", quality=95)
    for part in (0.5, 0.95):
        arrived = int(part * len(data))
        with pytest.raises(ImageError):
            open_image(data[:arrived] + filler * (len(data) - arrived))


def chunks(data):
    """(kind, content) of each chunk of a PNG."""
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def png_of(parts, broken=()):
    """A PNG of such chunks, with wrong check sums where the kind is ``broken``."""
    packed = [
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content) ^ (kind in broken))
        for kind, content in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


BESIDE = [b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"gAMA", b"pHYs", b"cHRM", b"tIME", b"acTL"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("content", [b"", b"\0\x08\0\x02\x01\x12\0\x03", b"\xff" * 40])
@pytest.mark.parametrize("broken", [(), BESIDE])
@pytest.mark.parametrize("place", [1, -1])
def test_a_damaged_chunk_beside_the_picture_costs_only_itself(kind, content, broken, place):
    parts = list(chunks(encoded(photo())))
    parts.insert(place, (kind, content))
    assert (pixels(open_image(png_of(parts, broken))) == pixels(photo())).all()


def test_what_is_sound_beside_a_damaged_chunk_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    parts = list(chunks(encoded(photo(), exif=exif)))
    parts.insert(1, (b"tEXt", b"a"))
    expected = pixels(photo().transpose(Image.Transpose.ROTATE_270))
    assert (pixels(open_image(png_of(parts, [b"tEXt"]))) == expected).all()
    assert (pixels(open_image(png_of(parts, [b"tEXt", b"eXIf"]))) == pixels(photo())).all()
    clear = png_of([*parts[:1], (b"tRNS", struct.pack(">3H", *photo().getpixel((0, 0)))), *parts[1:]], [b"tEXt"])
    assert pixels(open_image(clear))[0, -1].tolist() == [255] * 3


def test_a_damaged_picture_is_refused():
    parts = dict(chunks(encoded(photo())))
    for kind in (b"IHDR", b"IDAT"):
        with pytest.raises(ImageError):
            open_image(png_of((parts | {kind: parts[kind][:-4] + b"away", b"tEXt": b""}).items(), [kind, b"tEXt"]))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_damaged_exif_costs_no_pixel(format, data):
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "camera", {0x9003: "2026:11:28 10:00:00"}
    sound = exif.tobytes()
    damaged = bytearray(sound)
    for place in data.draw(st.lists(st.integers(6, len(sound) - 1), min_size=1, max_size=6)):
        damaged[place] = data.draw(st.integers(0, 255))
    plain, marked = (encoded(photo(), format, exif=exif) for exif in (sound, b"Exif\0\0" + bytes(damaged[6:])))
    found = pixels(open_image(marked))
    assert found.shape in ((32, 48, 3), (48, 32, 3))  # what is damaged may read as a rotation
    assert np.sort(found.ravel()).tolist() == np.sort(pixels(open_image(plain)).ravel()).tolist()


def test_what_needs_no_mending_or_is_beyond_it():
    for data in (encoded(photo()), encoded(photo(), "JPEG"), encoded(photo(), "GIF"), b"", b"\xff\xd8\xff"):
        assert mended(io.BytesIO(data)) is None


def test_what_begins_like_a_film_is_not_read_to_its_end():
    film = io.BytesIO(bytes(1000))
    assert mended(film) is None
    assert film.tell() < 20
