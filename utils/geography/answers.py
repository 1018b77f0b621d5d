"""Coordinates in the answers of a language model, however it chose to write them."""

import re
from collections.abc import Iterable

from utils.geography.geodesy import is_valid_coordinate

# Signs that look alike, and JSON's way of writing some of them.
_ALIKE = str.maketrans("\u2212\u2018\u2019\u2032\u201c\u201d\u2033\u00ba\u02da", "-'''\"\"\"°°")
_ESCAPED = {'\\"': '"', "\\u00b0": "°", "\\u2032": "'", "\\u2033": '"'}

# A number stands for itself: no part of "46,17" or "46.1.7" is one.
_NUMBER = r"(?<![\d.])(?<!\d,)[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:e[-+]?\d++)?(?![\d.,]*\d)"
_SIDES = {"lat": r"(?:[NS]|north|south)(?![a-z])", "lon": r"(?:[EW]|east|west)(?![a-z])"}


def _angle(name: str) -> str:
    """Pattern of degrees with optional minutes, seconds and side: 46.17, -46, 46.17° N, S 46°10'2"."""
    side = _SIDES[name]
    return (
        rf"(?:(?<![a-z])(?P<{name}_before>{side})[\s:]*)?"
        rf"(?P<{name}>{_NUMBER})\s*(?:°|deg(?:rees?)?\b)?\s*"
        rf"(?:,?\s*(?P<{name}_minutes>\d+(?:\.\d+)?)\s*(?:'(?!')|min(?:utes?)?\b)\s*)?"
        rf"(?:,?\s*(?P<{name}_seconds>\d+(?:\.\d+)?)\s*(?:\"|''|sec(?:onds?)?\b)\s*)?"
        rf"(?P<{name}_after>{side})?"
    )


_LAT, _LON = _angle("lat"), _angle("lon")
_LAT_NAME, _LON_NAME = r"\blat(?:itude)?\b", r"\b(?:lon|lng|long|longitude)\b"
# "latitude": 46.17 / Latitude = 46.17 / **Lat:** 46.17 / the latitude is about 46.17
_NAMED_LAT, _NAMED_LON = rf"{_LAT_NAME}[^\d.+-]{{0,20}}?{_LAT}", rf"{_LON_NAME}[^\d.+-]{{0,20}}?{_LON}"

# Between two named angles may stand words and other members of a JSON object.
_BETWEEN = r"(?:[\"\])]?\s*,\s*\"\w+\"\s*:\s*(?:\"[^\"]*\"|-?\d[\d.]*|true|false|null))*?\D{0,25}?"
# A pattern that ends so holds only where both angles had their side, before or after the number.
_HAS_SIDES = r"(?(lat_before)|(?(lat_after)|(?!)))(?(lon_before)|(?(lon_after)|(?!)))"
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # 46.17° latitude, 7.10° longitude
        rf"{_LAT}\s*{_LAT_NAME}\D{{0,10}}?{_LON}\s*{_LON_NAME}",
        rf"{_NAMED_LAT}{_BETWEEN}{_NAMED_LON}",
        rf"{_NAMED_LON}{_BETWEEN}{_NAMED_LAT}",
        # 46.17° N, 7.10° E / N 46.17, E 7.10 / 7.10 E 46.17 N
        rf"{_LAT}\D{{0,20}}?{_LON}{_HAS_SIDES}",
        rf"{_LON}\D{{0,20}}?{_LAT}{_HAS_SIDES}",
        # (46.17, 7.10): without names or sides only decimals count, or any two numbers of a sentence would,
        r"(?<![\d.,])(?P<lat>[-+]?\d{1,2}\.\d+)\s*°?\s*[,;]\s*(?P<lon>[-+]?\d{1,3}\.\d+)(?![\d.,]*\d)",
        # unless the answer is nothing but two numbers.
        rf"^[\s(\[]*(?P<lat>{_NUMBER})\s*°?(?:\s*[,;]\s*|\s+)(?P<lon>{_NUMBER})\s*°?[\s)\].]*$",
    )
]


def parse_answer(text: str) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees of the place that an answer names; None where it names no usable one.

    Understood are JSON, alone, in fences or in prose; other "latitude ... longitude ..." in either order;
    numbers with N, S, E, W, in degrees, minutes and seconds or decimal; and pairs of numbers. The first JSON
    object that holds coordinates counts, else the first place in the text. What lies outside [-90, 90] x
    [-180, 180] is no place, nor is (0, 0): models answer it when they do not know.
    """
    text = text.translate(_ALIKE)
    for escaped, sign in _ESCAPED.items():
        text = text.replace(escaped, sign)
    for part in (*re.findall(r"\{[^{}]*\}", text), text):
        for pattern in _PATTERNS:
            if match := pattern.search(part):
                return _coordinate(match.groupdict())
    return None


def _coordinate(groups: dict[str, str | None]) -> tuple[float, float] | None:
    latitude, longitude = _degrees(groups, "lat"), _degrees(groups, "lon")
    if not is_valid_coordinate(latitude, longitude) or (latitude, longitude) == (0, 0):
        return None
    return latitude, longitude


def _degrees(groups: dict[str, str | None], name: str) -> float:
    """The angle that a match holds, NaN for one that nobody would write (46.5°75')."""
    whole = float(groups[name])
    minutes, seconds = (float(groups.get(f"{name}_{part}") or 0) for part in ("minutes", "seconds"))
    if minutes >= 60 or seconds >= 60 or ((minutes or seconds) and whole % 1):
        return float("nan")
    size = abs(whole) + minutes / 60 + seconds / 3600
    side = (groups.get(f"{name}_before") or groups.get(f"{name}_after") or "").lower()
    negative = side[0] in "sw" if side else groups[name].startswith("-")
    return -size if negative else size


def parse_answers(answers: Iterable[str]) -> tuple[list[tuple[float, float]], int]:
    """The places that ``answers`` name, in their order, and how many of the answers name none."""
    places = [parse_answer(answer) for answer in answers]
    found = [place for place in places if place is not None]
    return found, len(places) - len(found)
