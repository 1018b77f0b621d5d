"""Coordinates in the answers of a language model, however it chose to write them."""

import re
from collections.abc import Iterable

from utils.geography.angles import DoubtError
from utils.geography.answer_choice import Mention, place_meant
from utils.geography.answer_json import places_in_json
from utils.geography.answer_prose import places_in_prose
from utils.geography.answer_text import LOOKED_AT, final_text, plain
from utils.geography.answer_tokens import Tokens, hemispheres
from utils.geography.geodesy import is_valid_coordinate

_JSON = "\ue000"  # where JSON stood that has a place: a sign for private use


def parse_answer(text: str, *, cut: bool = False) -> tuple[float, float] | None:
    """(latitude, longitude) in degrees of the place that an answer names; None where it names no usable one.

    Understood are JSON, alone, in fences or in prose; other "latitude ... longitude ..." in either order;
    numbers with N, S, E, W, in degrees, minutes and seconds or decimal; and pairs of numbers, latitude first unless
    the answer says otherwise. Of several places that under "Final answer:" or "Answer:" counts, else that of the JSON;
    the first of a list, or of those with others named as alternatives ("or", "other options"); and none where the text
    corrects itself, negates a place, or leaves open which of them it means. Where a text allows doubt, as to the side
    of the equator, say, it names no place; thinking is not part of it. What lies outside [-90, 90] x [-180, 180] is no
    place, nor is (0, 0): models answer it when they do not know.

    ``cut`` says that a limit of tokens ended the answer. A place that reaches its end then is None: the last number
    could have gone on, and a side could have followed. At most ``LOOKED_AT`` characters are looked at.
    """
    text = final_text(text)
    if text is None:
        return None
    cut = cut or len(text) > LOOKED_AT
    text = text[:LOOKED_AT].replace(_JSON, " ")
    try:
        place = _place_meant(text, cut)
    except DoubtError:
        return None
    if place is None or not is_valid_coordinate(*place) or place == (0, 0):
        return None
    return place


def _place_meant(text: str, cut: bool) -> tuple[float, float] | None:
    written = plain(text)
    sides = hemispheres(written)
    objects = places_in_json(text, sides)
    if objects:  # the prose around them
        ends = [0, *(found.end for found in objects)]
        starts = [*(found.start for found in objects), len(text)]
        written = plain(_JSON.join(text[end:start] for end, start in zip(ends, starts, strict=True)))
    at = (match.start() for match in re.finditer(_JSON, written))
    mentions = [Mention(start, start + 1, found.place, is_json=True) for start, found in zip(at, objects, strict=True)]
    mentions += places_in_prose(Tokens(written), sides, cut)
    return place_meant(sorted(mentions, key=lambda mention: mention.start), written)


def parse_answers(answers: Iterable[str], cut: Iterable[bool] | None = None) -> tuple[list[tuple[float, float]], int]:
    """The places that ``answers`` name, in their order, and how many of the answers name none.

    ``cut`` says of each answer whether a limit of tokens ended it; without it, none was. Raises ``ValueError`` where it
    is of another length.
    """
    if cut is None:
        places = [parse_answer(answer) for answer in answers]
    else:
        places = [parse_answer(answer, cut=ended) for answer, ended in zip(answers, cut, strict=True)]
    found = [place for place in places if place is not None]
    return found, len(places) - len(found)
