"""Which of its places an answer means: models correct themselves, exclude places, and list others behind theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

from utils.geography.angles import DoubtError
from utils.geography.answer_signals import (
    ALTERNATIVE,
    AWAY,
    CHOSEN,
    CORRECTED,
    DENIED,
    EXAMPLE,
    FIRST_THOUGHT,
    HEADING,
    INSTEAD,
    ITEM,
    LESS,
    NEGATED,
    RETRACTED,
    SHARE,
)
from utils.geography.geodesy import haversine_km

SAME_PLACE_KM = 1.0
_BEFORE = 120  # characters before a place in which it may be negated


@dataclass(frozen=True)
class Mention:
    """A place in a text, (latitude, longitude), where it stands, and whether it was JSON.

    It is None where the text names one, but which cannot be told.
    """

    start: int
    end: int
    place: tuple[float, float] | None
    is_json: bool = False


def place_meant(mentions: Sequence[Mention], text: str) -> tuple[float, float] | None:
    """The place that ``text`` means, of ``mentions``, which are in its order; None without any.

    Raises ``DoubtError`` where it cannot be told.
    """
    if not mentions:
        return None
    parts = _answers(mentions, text) or [_Part(mentions, 0, len(text), False, False)]
    if parts[-1].is_final:
        parts = parts[-1:]
    stops = [*(part.start for part in parts), len(text)][1:]
    places = [_of_part(part, text, stop) for part, stop in zip(parts, stops, strict=True)]
    for part, stop, place in zip(parts, stops, places, strict=True):
        asides = [at for at in mentions if part.end <= at.start < stop and _differ(place, at.place)]
        if asides and INSTEAD.search(text, part.end, asides[-1].start):
            raise DoubtError
    if (len(parts) > 1 and any(part.is_final for part in parts)) or any(_differ(places[0], place) for place in places):
        raise DoubtError
    return places[0]


class _Part(NamedTuple):
    """The places of a part of the text."""

    mentions: Sequence[Mention]
    start: int
    end: int
    is_final: bool
    is_headed: bool


def _answers(mentions: Sequence[Mention], text: str) -> list[_Part]:
    """What follows each heading that introduces an answer, up to the next heading, where it has places."""
    headings, depth, end = [], 0, 0
    for match in HEADING.finditer(text):
        depth += text.count("{", end, match.start()) - text.count("}", end, match.start())
        end = match.start()
        if depth <= 0:  # not within JSON
            headings.append(match)
    parts = []
    at = 0
    stops = [*(match.start() for match in headings), len(text)][1:]
    for match, stop in zip(headings, stops, strict=False):
        while at < len(mentions) and mentions[at].start < match.end():
            at += 1
        first = at
        while at < len(mentions) and mentions[at].start < stop:
            at += 1
        if first < at and not match["reasons"]:
            parts.append(_Part(mentions[first:at], match.end(), stop, match["final"] is not None, True))
    return parts


def _of_part(part: _Part, text: str, stop: int) -> tuple[float, float]:
    objects = [mention for mention in part.mentions if mention.is_json]
    first = (objects or part.mentions)[0]
    before = text[max(part.start, first.start - _BEFORE) : first.start]
    earlier = [mention.end for mention in part.mentions if mention.end <= first.start]
    if earlier:
        before = text[max(earlier[-1], first.start - _BEFORE) : first.start]
    if first.place is None or any(reason.search(before) for reason in (NEGATED, AWAY, EXAMPLE)):
        raise DoubtError
    if RETRACTED.search(text, first.end, stop) or DENIED.match(text, first.end) or FIRST_THOUGHT.search(before):
        raise DoubtError
    others = [
        mention for mention in part.mentions if mention.start > first.start and _differ(first.place, mention.place)
    ]
    if others:
        _check_others(first, others, part, text)
    return first.place


def _check_others(first: Mention, others: Sequence[Mention], part: _Part, text: str) -> None:
    """Raise ``DoubtError`` unless the first place is the one that is meant, though ``others`` follow it."""
    if first.is_json and not others[0].is_json and not any(other.is_json for other in others):
        if INSTEAD.search(text, first.end, others[-1].start):
            raise DoubtError
        return
    between = text[first.end : others[0].start]
    shares = [float(percent or share) for percent, share in SHARE.findall(text, part.start, part.end)]
    if shares and shares[0] != max(shares):
        raise DoubtError
    if _is_list(first, others[0], text):
        own, _, later = between.partition("\n")
        if LESS.search(own) or CHOSEN.search(later + text[others[0].start : part.end]):
            raise DoubtError
        return
    if CORRECTED.search(between) or CHOSEN.search(text, first.end, part.end):
        raise DoubtError
    if not part.is_headed and not ALTERNATIVE.search(between):
        raise DoubtError


def _is_list(first: Mention, second: Mention, text: str) -> bool:
    """Whether both places are items of a list, in their order."""
    items = [ITEM.match(text, text.rfind("\n", 0, mention.start) + 1) for mention in (first, second)]
    if items[0] is None or items[1] is None or items[0].start() == items[1].start():
        return False
    if items[0]["bullet"]:
        return items[1]["bullet"] is not None
    numbers = [item["number"] or "" for item in items]
    return numbers in (["1", "2"], ["a", "b"], ["A", "B"])


def _differ(first: tuple[float, float], second: tuple[float, float] | None) -> bool:
    if second is None or not all(map(isfinite, (*first, *second))):  # JSON has numbers that are infinite, or none
        return first != second
    return float(haversine_km(*first, *second)) > SAME_PLACE_KM
