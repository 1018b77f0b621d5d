"""Where photos say they were taken: GPS coordinates in EXIF."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.ExifTags import GPS, IFD

from utils.geography.geodesy import Coordinate, parse_coordinate
from utils.photos.formats import open_photo
from utils.photos.images import ImageError

# A step in the seventh digit is a centimetre; what follows is the rounding of seconds to degrees.
DIGITS = 7


def gps_coordinate(gps: Mapping[int, Any]) -> Coordinate | None:
    """(latitude, longitude) in degrees of a GPS directory (EXIF 3.0, 4.6.6), None where it names no place.

    Raises ``ValueError``, saying what is wrong, where only one of the two is there, a number has the denominator 0, a
    hemisphere is missing or unknown, which would leave the sign open, or the place is out of range. (0, 0), which
    cameras write before they know where they are, counts as wrong too.
    """
    if GPS.GPSLatitude not in gps and GPS.GPSLongitude not in gps:
        return None
    point = parse_coordinate(
        (
            _degrees(gps, GPS.GPSLatitude, GPS.GPSLatitudeRef, "NS"),
            _degrees(gps, GPS.GPSLongitude, GPS.GPSLongitudeRef, "EW"),
        )
    )
    if point == (0, 0):
        raise ValueError("latitude and longitude 0: the camera did not know the place")
    return point


def _degrees(gps: Mapping[int, Any], tag: GPS, ref_tag: GPS, sides: str) -> float:
    """Degrees from up to three numbers, degrees, minutes and seconds, and a letter for the hemisphere."""
    parts, side = gps.get(tag), gps.get(ref_tag)
    if isinstance(side, bytes):
        side = side.decode("ascii", "replace")
    side = (side or "").strip("\0 ").upper()
    if side not in tuple(sides):
        raise ValueError(f"{ref_tag.name} is {side!r}, not {' or '.join(sides)}")
    try:
        numbers = [float(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
        whole = all(number >= 0 for number in numbers) and all(number <= 60 for number in numbers[1:])
        if not (1 <= len(numbers) <= 3 and whole):
            raise ValueError
    except (TypeError, ValueError, ZeroDivisionError):
        raise ValueError(f"{tag.name} is {parts!r}: not degrees, minutes and seconds") from None
    degrees = sum(number / 60**power for power, number in enumerate(numbers))
    return round(degrees if side == sides[0] else -degrees, DIGITS)


def photo_coordinate(path: Path) -> Coordinate | None:
    """The coordinate in a photo's EXIF, None where there is none; pixels are not read.

    Raises ``ImageError``, naming the photo, when it is no image or its coordinate is unusable (``gps_coordinate``).
    """
    try:
        with open(path, "rb") as file:
            return gps_coordinate(open_photo(file).getexif().get_ifd(IFD.GPSInfo))
    # Malformed bytes lead PIL into exceptions of any type.
    except Exception as error:
        raise ImageError(f"{path}: {error}") from error


def has_gps(source: Path | bytes | Image.Image) -> bool:
    """Whether a photo says where it was taken, in a way that can be read: a path, a file's bytes, or PIL's picture."""
    try:
        if isinstance(source, Path):
            return photo_coordinate(source) is not None
        image = open_photo(io.BytesIO(source)) if isinstance(source, bytes) else source
        return gps_coordinate(image.getexif().get_ifd(IFD.GPSInfo)) is not None
    # Malformed bytes lead PIL into exceptions of any type.
    except Exception:
        return False
