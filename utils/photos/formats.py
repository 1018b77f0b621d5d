"""Which files are photos: decided by their content, alike for one photo, a folder, EXIF and a gallery."""

import functools
import logging
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError, features
from PIL.ExifTags import Base

logger = logging.getLogger(__name__)

# An id may leave the extension out; these are tried after the id itself, in this order. Of a file with one of these
# names it is said where it is no photo; other files that are none are left alone.
_LOWER = (".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".mpo")
EXTENSIONS = (*_LOWER, *map(str.upper, _LOWER))

_EXTENSION = re.compile("(?:" + "|".join(map(re.escape, EXTENSIONS)) + ")$")

# How files of a format begin. The last three signatures are short, and so go on with what else is fixed.
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",  # and MPO, several JPEGs in a file
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb"....ftyp(?:....)*?avi[fs]",
    "HEIF": rb"....ftyp(?:....)*?(?:he[iv][cxms]|mif1|msf1)",
    "JPEG2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "PPM": rb"P[1-6]\s+(?:#.*\s+)?\d+\s+\d+\s",
}
_HEAD = 64  # bytes that tell a format
_NAMES = "JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP, GIF, JPEG 2000, PNM"


def without_extension(image_id: str) -> str:
    """An id without the extension of a photo, which ids may leave out."""
    return _EXTENSION.sub("", image_id)


class UnknownFormat(ValueError):
    """No photo, or of a format that cannot be read here; the message says which and what to do."""


@functools.cache
def _reads_heif() -> bool:
    """Whether the extra ``heif`` is installed, which adds the format to PIL."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


# Formats that not every installation reads, whether this one does, and how to get them.
_OPTIONAL: dict[str, tuple[Callable[[], bool], str]] = {
    "HEIF": (_reads_heif, "a HEIC photo, which needs pillow-heif: pip install -e '.[heif]'"),
    "AVIF": (lambda: features.check("avif"), "an AVIF photo, which this Pillow cannot read: pip install -U pillow"),
}


def _format(head: bytes) -> str | None:
    """PIL's name of the format that a file's first bytes tell."""
    return next((name for name, start in _SIGNATURES.items() if re.match(start, head, re.DOTALL)), None)


def open_photo(file: BinaryIO) -> Image.Image:
    """A photo of any known format, its head read and its pixels not.

    Raises ``UnknownFormat`` for anything else, and for raw photos, of which PIL would read the preview; malformed
    bytes raise exceptions of any type.
    """
    kind = _format(file.read(_HEAD))
    file.seek(0)
    if kind is None:
        raise UnknownFormat(f"not an image of a known format ({_NAMES})")
    readable, remedy = _OPTIONAL.get(kind, (lambda: True, ""))
    if not readable():
        raise UnknownFormat(remedy)
    try:
        image = Image.open(file, formats=[kind])
    except UnidentifiedImageError as error:  # PIL would name the buffer
        raise UnknownFormat(f"a damaged {kind} image") from error
    if kind == "TIFF" and _is_raw(image):
        raise UnknownFormat("a camera's raw photo: export it as JPEG or TIFF")
    return image


def _is_raw(image: Image.Image) -> bool:
    """Whether a TIFF is a raw photo: DNG, or one that begins with a picture of reduced resolution."""
    tags = image.getexif()
    return Base.DNGVersion in tags or tags.get(Base.NewSubfileType, 0) & 1 == 1


def _is_photo(path: Path) -> bool:
    """Whether the content is that of a photo, readable here or not."""
    try:
        with open(path, "rb") as file:
            kind = _format(file.read(_HEAD))
            if kind != "TIFF":
                return kind is not None
            file.seek(0)
            open_photo(file)
            return True
    except Exception:  # malformed bytes lead PIL into exceptions of any type
        return False


class Listing(NamedTuple):
    """What a folder and its subfolders hold; names are paths relative to it, with slashes, sorted."""

    photos: list[str]
    unwritable: list[str]  # photos whose names are not UTF-8, as old zip files hold: no table could hold them
    others: Counter[str]  # files that are no photos, by their suffix, or by their name where they have none
    closed: list[str]  # subfolders that may not be read


def list_photos(folder: Path) -> Listing:
    """The photos of a folder: what has the content of one, or a name that says so.

    Raises ``ValueError`` where there is none, and ``PermissionError`` where the folder itself may not be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    os.scandir(folder).close()
    closed: list[OSError] = []
    walk = os.walk(folder, onerror=closed.append)
    files = [path for parent, _, names in walk for path in map(Path(parent).joinpath, names) if path.is_file()]
    photos = [path for path in files if path.suffix.lower() in EXTENSIONS or _is_photo(path)]
    others = Counter(path.suffix.lower() or path.name for path in sorted(set(files).difference(photos)))
    names = sorted(path.relative_to(folder).as_posix() for path in photos)
    writable = [name for name in names if is_writable(name)]
    if not writable:
        raise ValueError(f"{folder}: no photo among {len(files)} files ({_NAMES})")
    unwritable = [name for name in names if not is_writable(name)]
    return Listing(writable, unwritable, others, [error.filename for error in closed])


def is_writable(name: str) -> bool:
    """Whether a file's name can be written down: one that is not UTF-8 cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def photo_names(folder: Path) -> list[str]:
    """The ``photos`` of ``list_photos``, which says what else is there."""
    photos, unwritable, others, closed = list_photos(folder)
    for path in closed:
        logger.warning(f"{path}: this folder may not be read and is left alone")
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common(5))
        what = "1 file is no photo and is" if others.total() == 1 else f"{others.total()} files are no photos and are"
        logger.info(f"{folder}: {what} left alone ({kinds})")
    if unwritable:
        count = len(unwritable)
        what = "1 photo has a name that is" if count == 1 else f"{count} photos have names that are"
        left = "is" if count == 1 else "are"
        logger.info(f"{folder}: {what} not UTF-8 and {left} left alone ({unwritable[0]!a})")
    return photos
