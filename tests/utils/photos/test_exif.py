"""GPS coordinates of photos: EXIF written byte by byte as its standard says, and everything cameras do wrong."""

import math
import struct
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from tests.pictures import MARTIGNY
from utils.photos.exif import gps_coordinate, photo_coordinate
from utils.photos.images import ImageError


def exif_bytes(latitude: list[tuple[int, int]], longitude: list[tuple[int, int]], sides: str, order: str) -> bytes:
    """EXIF with nothing but GPS: a TIFF header, a directory that points to another, its four entries, and two values.

    ``order`` is "<" or ">"; the coordinates are rationals.
    """
    start, entry = 26, 12  # of the GPS directory, bytes of an entry
    values = start + 2 + 4 * entry + 4
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    head += struct.pack(f"{order}HHHIII", 1, 0x8825, 4, 1, start, 0)
    gps = struct.pack(f"{order}H", 4)
    for number, (side, place) in enumerate(zip(sides, (latitude, longitude), strict=True)):
        gps += struct.pack(f"{order}HHI4s", 2 * number + 1, 2, 2, side.encode() + b"\0\0\0")
        gps += struct.pack(f"{order}HHII", 2 * number + 2, 5, len(place), values + 8 * number * len(latitude))
    gps += struct.pack(f"{order}I", 0)
    return b"Exif\0\0" + head + gps + b"".join(struct.pack(f"{order}II", *part) for part in latitude + longitude)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("sides", "signs"), [("NE", (1, 1)), ("SW", (-1, -1)), ("NW", (1, -1))])
def test_photos_as_cameras_write_them(tmp_path: Path, order: str, sides: str, signs: tuple[int, int]) -> None:
    path = tmp_path / "photo.jpg"
    exif = exif_bytes([(46, 1), (10, 1), (2234, 1000)], [(7, 1), (59389, 10000), (0, 1)], sides, order)
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    expected = 46 + 10 / 60 + 2.234 / 3600, 7 + 5.9389 / 60
    assert photo_coordinate(path) == pytest.approx([s * d for s, d in zip(signs, expected, strict=True)], abs=1e-7)

    exif = exif_bytes([(46, 1), (10, 0), (0, 1)], [(7, 1), (5, 1), (0, 1)], sides, order)
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    with pytest.raises(ImageError, match=r"photo\.jpg: GPSLatitude is .*nan.*not degrees, minutes and seconds"):
        photo_coordinate(path)


@given(st.integers(-90 * 36000, 90 * 36000), st.integers(-180 * 36000, 180 * 36000))
def test_every_tenth_of_a_second(latitude: int, longitude: int) -> None:
    def parts(tenths: int) -> tuple[IFDRational, ...]:
        size = abs(tenths)
        numbers = size // 36000, size // 600 % 60, Fraction(size % 600, 10)
        return tuple(IFDRational(Fraction(number)) for number in numbers)

    gps = {1: "S" if latitude < 0 else "N", 2: parts(latitude), 3: "W" if longitude < 0 else "E", 4: parts(longitude)}
    if (latitude, longitude) == (0, 0):
        with pytest.raises(ValueError, match="did not know"):
            gps_coordinate(gps)
    else:
        assert gps_coordinate(gps) == pytest.approx((latitude / 36000, longitude / 36000), abs=1e-7)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({}, (46.1008333, 7.07)),
        ({5: 1, 6: IFDRational(3, 0)}, (46.1008333, 7.07)),  # altitude
        ({1: b"S\0", 3: "w "}, (-46.1008333, -7.07)),
        ({2: (46.25,), 4: IFDRational(29, 4)}, (46.25, 7.25)),
        ({2: (46, 59, 60), 4: (7, 0)}, (47.0, 7.0)),
    ],
)
def test_forms_that_mean_a_place(cells: dict, expected: tuple[float, float]) -> None:
    assert gps_coordinate(MARTIGNY | cells) == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({1: None}, "GPSLatitudeRef is '', not N or S"),
        ({3: "N"}, "GPSLongitudeRef is 'N', not E or W"),
        ({2: None}, "GPSLatitude is None"),
        ({4: (7, 75, 0)}, "GPSLongitude is .*not degrees, minutes and seconds"),
        ({4: (-7, 0, 0)}, "GPSLongitude is .*not degrees"),
        ({4: (7, 0, 0, 0)}, "GPSLongitude is .*not degrees"),
        ({4: ()}, "GPSLongitude is .*not degrees"),
        ({4: "east"}, "GPSLongitude is .*not degrees"),
        ({4: (math.nan, 0, 0)}, "GPSLongitude is .*not degrees"),
        ({2: (90, 0, 1)}, "latitude 90.0002778 is not between"),
        ({3: "W", 4: (181, 0, 0)}, "longitude -181.0 is not between"),
        ({2: (0, 0, 0), 4: (0, 0, 0)}, "the camera did not know"),
    ],
)
def test_damage_is_no_place(cells: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gps_coordinate(MARTIGNY | cells)


def test_no_gps_is_no_damage() -> None:
    assert gps_coordinate({}) is None
    assert gps_coordinate({1: "N", 3: "E", 18: "WGS-84"}) is None
