"""Small pictures inside of a page: JPEG as data URI, without the EXIF of what they show."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

QUALITIES = (82, 65, 45, 25, 10)  # the first one that fits
BYTES_PER_PIXEL = 0.35  # at most, of a square with the picture's longer side


@dataclass(frozen=True)
class Sizes:
    """How large the pictures of a photo are that a page shows: pixels of the longer side."""

    photo: int
    evidence: int  # of the candidates' own photos
    candidates: int  # how many of these, of the best

    @classmethod
    def of(cls, photos: int) -> "Sizes":
        """For a page of so many photos: all of them together 25 MB at most, and beyond 2,000 photos 6 KB each."""
        tiers = {1: cls(960, 320, 50), 20: cls(640, 192, 15), 200: cls(320, 128, 5), 2000: cls(160, 0, 0)}
        return next((sizes for most, sizes in tiers.items() if photos <= most), cls(96, 0, 0))


def picture(image: Image.Image, side: int) -> str:
    """An RGB ``image`` with at most ``side`` pixels a side, as a data URI of at most ``most_bytes(side)``."""
    factor = min(1.0, side / max(image.size))
    size = [max(1, round(length * factor)) for length in image.size]
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    small.info = {}
    for quality in QUALITIES:
        uri = jpeg_uri(small, quality)
        if len(uri) <= most_bytes(side):
            break
    return uri


def most_bytes(side: int) -> int:
    """Of a picture with so many pixels a side: base64, and the tables of a JPEG."""
    return round(4 / 3 * (BYTES_PER_PIXEL * side**2 + 700))


def jpeg_uri(image: Image.Image, quality: int) -> str:
    """An RGB ``image`` as a data URI."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
