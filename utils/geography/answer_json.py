"""Coordinates in the JSON of an answer."""

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from utils.geography.angles import LATITUDE, LONGITUDE, Angle, DoubtError, whole_angle
from utils.geography.answer_judged import WORD, check_ranks, is_choice, is_not_meant, is_rejected
from utils.geography.answer_text import plain
from utils.geography.answer_tokens import Tokens, of_this_or_later_lines

_START = re.compile(r'\{(?=\s{0,50}")|\[(?=\s{0,50}\{)')
_NEXT_ITEM = re.compile(r"\s*,\s*")
# How many objects are tried. One that turns out to be broken may cost a reading of all the text.
_ATTEMPTS = 64
_DEEPEST = 8
_LONGEST_NAME = 40
_BEHIND = 80  # characters behind an object in which sides may be its
_NEGATIVE = re.compile(r"\b(?:negative|minus)\b", re.IGNORECASE)  # "both are negative", of whatever length
# Names of members that may hold a minus, and of those that say so by being false.
_SIGNS = re.compile("sign|sgn|polarity|multipl|factor|negativ", re.IGNORECASE)
_POSITIVE = re.compile("north|east|positive", re.IGNORECASE)

_AXES = {"lat": LATITUDE, "latitude": LATITUDE} | dict.fromkeys(("lon", "lng", "long", "longitude"), LONGITUDE)
# What else the name of a member may say: nothing of importance; that the value is the side of an axis, which the name
# of the axis may have to tell; that it is a part of the angle; or that it bounds an area.
_KINDS = {
    word: kind
    for kind, words in {
        "value": "gps geo decimal deg degree degrees dd value coordinate estimated predicted final",
        "side": "direction dir ref reference side cardinal sign letter indicator",
        "own side": "hemisphere hemi ns ew n s e w",
        "part": "minute minutes min second seconds sec",
        "bound": "max maximum minimum lower upper bound start end",
    }.items()
    for word in words.split()
}
# An angle that is an object of its own, and how its members are written behind one another.
_MEMBERS = {
    **dict.fromkeys(("degrees", "degree", "deg", "d", "value", "decimal"), "{}°"),
    **dict.fromkeys(("minutes", "minute", "min", "m"), "{}'"),
    **dict.fromkeys(("seconds", "second", "sec", "s"), '{}"'),
    **dict.fromkeys(("direction", "dir", "ref", "hemisphere", "side", "cardinal"), " {}"),
    **dict.fromkeys(("unit", "units"), ""),
}


class PlaceInJson(NamedTuple):
    """A place, (latitude, longitude), and where the JSON that has it begins and ends."""

    start: int
    end: int
    place: tuple[float, float]


def places_in_json(text: str, others: str) -> list[PlaceInJson]:
    """The places that the JSON objects and lists of objects in ``text`` have; of a list that of its first item.

    ``others`` are sides that the text names elsewhere. Raises ``DoubtError`` where an object does not say one place.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_members, parse_int=float, strict=False)
    found: list[PlaceInJson] = []
    attempts = end = 0
    for match in _START.finditer(text):
        start = match.start()
        if start < end:
            continue
        if (attempts := attempts + 1) > _ATTEMPTS:
            raise DoubtError
        try:
            value, end = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            continue
        if found and _NEXT_ITEM.fullmatch(text, found[-1].end, start):  # of a list that is broken elsewhere
            found[-1] = found[-1]._replace(end=end)
            continue
        behind = of_this_or_later_lines(re.match("[^wz]*", Tokens(plain(text[end : end + _BEHIND])).codes)[0])
        if (place := _place(value, _sides_of_strings(value) + behind + others)) is not None:
            found.append(PlaceInJson(start, end, place))
    return found


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises ``DoubtError`` where it has a latitude or longitude twice."""
    members = {}
    for name, value in pairs:
        if members.get(name, value) != value and _role(name).axis:
            raise DoubtError
        members[name] = value
    return members


def _place(value: Any, others: str, depth: int = 0) -> tuple[float, float] | None:
    """The place that ``value`` holds: its own, else the first of a list, else the only one in its members."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, list):
        check_ranks(value)
        return next((place for item in value if (place := _place(item, others, depth + 1)) is not None), None)
    if not isinstance(value, dict):
        return None
    if any(is_rejected(name, member) for name, member in value.items()):
        raise DoubtError
    latitudes, longitudes = (_angles(value, axis) for axis in (LATITUDE, LONGITUDE))
    if latitudes and longitudes:
        return _only({north.on(LATITUDE, others) for north in latitudes}), _only(
            {east.on(LONGITUDE, others) for east in longitudes}
        )
    found = {name: place for name, member in value.items() if (place := _place(member, others, depth + 1)) is not None}
    if any(is_not_meant(name) for name in found):
        raise DoubtError
    several = any(isinstance(value[name], list) and len(value[name]) > 1 for name in found)
    if several and any(is_choice(name, member) for name, member in value.items()):
        raise DoubtError
    places = set(found.values())
    return _only(places) if places else None


def _only(found: set) -> Any:
    if len(found) != 1:
        raise DoubtError
    return next(iter(found))


class _Role(NamedTuple):
    """What the value of a member is: the angle of an ``axis`` ("value"), a part or the side of it, or neither."""

    axis: str = ""
    kind: str = ""
    sides: str = ""  # those that the name itself says


@lru_cache(maxsize=256)  # all answers have the same members
def _role(name: str) -> _Role:
    words = [word.lower() for word in WORD.findall(name[:_LONGEST_NAME])]
    axes = {_AXES[word] for word in words if word in _AXES}
    axis = axes.pop() if len(axes) == 1 else ""
    rest = [word for word in words if word not in _AXES and _KINDS.get(word) != "value"]
    kinds = {_KINDS.get(word) for word in rest}
    sides = Tokens(" ".join(rest).upper()).codes
    if axis and len(sides) <= 1 and set(sides) <= set("NSEW"):
        return _Role(axis, "value", sides)
    if kinds <= {"side", "own side"} and (axis or "own side" in kinds):
        return _Role(axis, "side")
    return _Role(axis, next((kind for kind in ("part", "bound") if kind in kinds), ""))


def _angles(members: dict[str, Any], axis: str) -> list[Angle]:
    """The angles of ``axis`` that an object states, with the sides that other members give them."""
    roles = {name: _role(name) for name in members}
    sides = "".join(_sides(members[name], role, axis) for name, role in roles.items() if role.kind == "side")
    values = {name: role for name, role in roles.items() if role.axis == axis and role.kind == "value"}
    others = {role.kind for role in roles.values() if role.axis == axis}
    if others & ({"part"} if values else {"part", "bound"}):
        raise DoubtError
    found = [(_angle(members[name]), role) for name, role in values.items()]
    return [replace(angle, sides=angle.sides + role.sides + sides) for angle, role in found]


def _sides(value: Any, role: _Role, axis: str) -> str:
    """The sides of ``axis`` that a member names. Raises ``DoubtError`` where one that has to does not (sign: -1)."""
    named = _sides_of_strings(value)
    if role.axis and not named and value is not None:
        raise DoubtError
    return "".join(side for side in named if side in axis)


def _angle(value: Any) -> Angle:
    """The angle that a member's value is. Raises ``DoubtError`` where it is none."""
    if isinstance(value, list):
        value = " ".join(map(str, value))
    if isinstance(value, dict):
        value = {name.lower(): part for name, part in value.items()}
        if not value.keys() <= _MEMBERS.keys():
            raise DoubtError
        value = "".join(form.format(value[name]) for name, form in _MEMBERS.items() if name in value)
    if isinstance(value, float):
        return Angle(abs(value), "-" if value < 0 else "")
    angle = whole_angle(Tokens(plain(value))) if isinstance(value, str) else None
    if angle is None:
        raise DoubtError
    return angle


def _sides_of_strings(value: Any) -> str:
    """The sides that those strings in ``value`` name which say little else ("S", "Southern Hemisphere").

    A string that speaks of something negative may mean any coordinate.
    """
    sides, left = "", [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += item.values()
            sides += "X" if any(_is_minus(name, member) for name, member in item.items()) else ""
            left += (name for name, member in item.items() if _role(name).kind != "side" or not isinstance(member, str))
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str):
            sides += _sides_of(item) if len(item) <= _LONGEST_NAME else ""
            sides += "X" if _NEGATIVE.search(item) else ""
    return sides


def _is_minus(name: str, value: Any) -> bool:
    if value is False:
        return _POSITIVE.search(name) is not None
    return _SIGNS.search(name) is not None and (value is True or "-" in str(value))


@lru_cache(maxsize=256)
def _sides_of(text: str) -> str:
    codes = Tokens(plain(text.upper() if len(text) == 1 else text)).codes
    return "".join(re.findall("[NSEWX]", codes.replace("x", "X"))) if re.fullmatch("[^nbwzgu]*", codes) else ""
