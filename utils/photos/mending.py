"""Damage that costs no pixel: chunks beside those of a PNG's picture, and the marker at the end of a JPEG."""

import io
import random
import re
import zlib
from typing import BinaryIO

from PIL import Image, ImageChops

PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"

_PICTURE = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_BESIDE = (b"tRNS", b"eXIf")  # what else matters: transparency and rotation

END_OF_IMAGE = b"\xff\xd9"
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)  # not those within the data of a scan
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_SCAN, _IMAGE_END = 0xDA, 0xD9
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# Data that might come next, without a marker: each begins with a 1, since of what is missing decoders make zeros.
_NOISE = [b"\xaa" + bytes(random.Random(seed).choices(range(255), k=255)) for seed in range(3)]


def mended(file: BinaryIO) -> bytes | None:
    """A photo that cannot be decoded without what is damaged beside its pixels; None where that is not all.

    What begins like no photo that could be mended, a film perhaps, is not read.
    """
    start = file.read(len(PNG_START))
    if start == PNG_START:
        return _png_alone(start + file.read())
    if start.startswith(JPEG_START):
        return _jpeg_with_end(start + file.read())
    return None


def _png_alone(data: bytes) -> bytes | None:
    """The chunks of the picture (PNG 1.2, 3.2), with transparency and EXIF where their check sums are right."""
    kept, position = [PNG_START], len(PNG_START)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind, checksum = data[position + 4 : position + 8], data[end - 4 : end]
        sound = zlib.crc32(data[position + 4 : end - 4]) == int.from_bytes(checksum, "big")
        if kind in _PICTURE or (kind in _BESIDE and sound):
            kept.append(data[position:end])
        position = end
    alone = b"".join([*kept, data[position:]])
    return None if len(alone) == len(data) else alone


def _jpeg_with_end(data: bytes) -> bytes | None:
    """A JPEG that lacks the end-of-image marker, or half of it, and nothing else.

    A decoder makes up what is missing and says nothing. So the data is complete where the pixels do not depend on what
    follows, and no longer than it should be where they do as soon as the last byte is gone.
    """
    body = data.rstrip(b"\xff")
    try:
        if not _has_all_scans(body):
            return None
        last = 2 if body.endswith(b"\xff\x00") else 1  # the second one only says that the first is no marker
        if _depends_on_more(body) or not _depends_on_more(body[:-last]):
            return None
    except (IndexError, ValueError, OSError):  # cut within a header
        return None
    return body + END_OF_IMAGE


def _has_all_scans(data: bytes) -> bool:
    """Whether the scans (ITU-T T.81, B.2.3) bring every coefficient of every component in full precision."""
    components, position = 0, len(JPEG_START)
    complete: set[tuple[int, int]] = set()  # component and coefficient
    while marker := _MARKER.search(data, position):
        kind, start = marker[1][0], marker.end()
        if kind == _IMAGE_END:
            return False
        position = start + int.from_bytes(data[start : start + 2], "big")
        if kind in _FRAMES:
            components = data[start + 7]
        elif kind == _SCAN:
            count = data[start + 2]
            chosen = data[start + 3 : start + 3 + 2 * count : 2]
            first, last, bits = data[start + 3 + 2 * count : start + 6 + 2 * count]
            if bits & 15 == 0:
                complete |= {(component, number) for component in chosen for number in range(first, last + 1)}
    return components > 0 and len(complete) == 64 * components


def _depends_on_more(data: bytes) -> bool:
    """Whether the pixels of a JPEG without its end change with what comes next."""
    markers = _RESTART.findall(data)
    # The data may end where a restart marker has to follow, the next in turn.
    restart = bytes([0xFF, 0xD0 + (markers[-1][1] + 1 - 0xD0) % 8 if markers else 0xD0])
    alone = _picture(data)
    others = (_picture(data + noise + restart + noise) for noise in _NOISE)
    return any(ImageChops.difference(alone, other).getbbox() is not None for other in others)


def _picture(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data + END_OF_IMAGE), formats=["JPEG"]) as image:
        image.load()
        return image
