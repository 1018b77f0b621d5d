"""Photos as text that stands in a request: data URLs."""

import base64
import io
from typing import Any, Literal

from PIL import Image
from PIL.ExifTags import Base

from utils.photos.images import open_image


def encoded(photo: Image.Image, kind: Literal["JPEG", "PNG"], **options: Any) -> str:
    """An RGB photo as the data URL of a file of this ``kind``; ``options`` are those of ``PIL.Image.Image.save``."""
    file = io.BytesIO()
    photo.save(file, kind, **options)
    return _url(kind, file.getvalue())


def lossless(data: bytes, name: str | None = None) -> str:
    """The data URL of a file, or of a PNG with the pixels that it has by ``open_image``, which whoever reads it sees.

    A JPEG is left as it is, and a fraction of that size, where PIL by itself reads the same upright RGB of it.
    Raises ``ImageError``, which calls the photo ``name``, as ``open_image``.
    """
    photo = open_image(data, name)
    if _is_plain_jpeg(data, photo):
        return _url("JPEG", data)
    return encoded(photo, "PNG", compress_level=1)


def _is_plain_jpeg(data: bytes, photo: Image.Image) -> bool:
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    try:
        plain = Image.open(io.BytesIO(data), formats=["JPEG"])
        upright = plain.getexif().get(Base.Orientation, 1) == 1
        return upright and plain.mode == "RGB" and plain.tobytes() == photo.tobytes()
    except Exception:  # what was mended; malformed bytes lead PIL into exceptions of any type
        return False


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind.lower()};base64," + base64.b64encode(data).decode()
