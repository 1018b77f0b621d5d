"""Coordinates in the answers of a language model, however it chose to write them."""

import re
from collections.abc import Iterable

from utils.geodesy import is_valid_coordinate

# Degrees with optional minutes, seconds and side: 46.17, -46, 46.17° N, 46°10'2" N. A number stands for
# itself: no part of "46,17" or "46.1.7" is one.
_NUMBER = r"(?<![\d.])(?<!\d,)[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?(?![\d.,]*\d)"
_PARTS = (
    r"(?:(?P<{0}_minutes>\d+(?:\.\d+)?)\s*['\u2032]\s*)?"
    r"(?:(?P<{0}_seconds>\d+(?:\.\d+)?)\s*(?:[\"\u2033]|'')\s*)?"
)
_ANGLE = rf"(?P<{{0}}>{_NUMBER})\s*(?:°|deg(?:rees?)?\b)?\s*{_PARTS}"
_LAT_SIDE, _LON_SIDE = r"(?P<lat_side>[NS]|north|south)\b", r"(?P<lon_side>[EW]|east|west)\b"
_LAT, _LON = _ANGLE.format("lat"), _ANGLE.format("lon")
# "latitude": 46.17 / Latitude = 46.17 / **Lat:** 46.17 / the latitude is about 46.17
_NAMED_LAT = rf"\blat(?:itude)?\b[^\d.+-]{{0,20}}{_LAT}(?:{_LAT_SIDE})?"
_NAMED_LON = rf"\b(?:lon|lng|long|longitude)\b[^\d.+-]{{0,20}}{_LON}(?:{_LON_SIDE})?"
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_NAMED_LAT}\D{{0,25}}?{_NAMED_LON}",
        rf"{_NAMED_LON}\D{{0,25}}?{_NAMED_LAT}",
        rf"{_LAT}{_LAT_SIDE}\D{{0,5}}?{_LON}{_LON_SIDE}",
        rf"{_LON}{_LON_SIDE}\D{{0,5}}?{_LAT}{_LAT_SIDE}",
        # (46.17, 7.10): without names or sides only decimals count, or any two numbers of a sentence would.
        r"(?<![\d.,])(?P<lat>[-+]?\d{1,2}\.\d+)\s*°?\s*[,;]\s*(?P<lon>[-+]?\d{1,3}\.\d+)(?![\d.,]*\d)",
    )
]


def parse_answer(text: str) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees of the place that an answer names; None where it names no usable one.

    Understood are JSON, alone, in fences or in prose; other "latitude ... longitude ..." in either order;
    numbers with N, S, E, W; and decimal pairs. The first JSON object that holds coordinates counts, else the
    first place in the text. What lies outside [-90, 90] x [-180, 180] is no place, nor is (0, 0): models
    answer it when they do not know.
    """
    text = text.replace("\N{MINUS SIGN}", "-")
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
    whole = float(groups[name])
    minutes, seconds = (float(groups.get(f"{name}_{part}") or 0) for part in ("minutes", "seconds"))
    if minutes >= 60 or seconds >= 60:
        return float("nan")
    size = abs(whole) + minutes / 60 + seconds / 3600
    side = (groups.get(f"{name}_side") or "").lower()
    negative = side[0] in "sw" if side else groups[name].startswith("-")
    return -size if negative else size


def parse_answers(answers: Iterable[str]) -> tuple[list[tuple[float, float]], int]:
    """The places that ``answers`` name, in their order, and how many of the answers name none."""
    places = [parse_answer(answer) for answer in answers]
    found = [place for place in places if place is not None]
    return found, len(places) - len(found)
