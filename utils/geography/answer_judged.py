"""What an answer's JSON says of its own places: which is the likeliest, and which are not meant."""

import re
from typing import Any

from utils.geography.angles import DoubtError

# Names of members that say how good a candidate is; of some the least is the best.
_RANKS = re.compile(r"conf|prob|likel|score|weight|certain|percent|(?P<least>rank|order|priority)", re.IGNORECASE)
# Words of the name of a member whose place is not the answer.
_NOT_MEANT = re.compile(
    r"not|wrong|rejected|excluded|incorrect|false|unlikely|example|sample|initial|draft|old|previous|earlier|"
    "discarded|ruled(?: out)?|invalid|impossible|reference",
    re.IGNORECASE,
)
_MEANT = re.compile(
    "correct|valid|accepted|right|plausible|match|chosen|selected|possible|likely|verdict|status", re.IGNORECASE
)
_NO = re.compile(r"\s*(?:no|not|false|wrong|incorrect|rejected|excluded|discarded|invalid|unlikely)\b", re.IGNORECASE)
_CHOICE = re.compile("best|chosen|choice|answer|select|pick|index|final|winner", re.IGNORECASE)
_GRADES = ["very low", "low", "medium", "high", "very high"]
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LONGEST_VERDICT = 40  # characters


def check_ranks(items: list) -> None:
    """Raise ``DoubtError`` where the first of some candidates is not the likeliest by what they say of themselves."""
    objects = [item for item in items if isinstance(item, dict)]
    for name in objects[0] if objects else ():
        words = _RANKS.search(name)
        ranks = [_rank(item.get(name)) for item in objects] if words else []
        if words and None not in ranks:
            best = min(ranks) if words["least"] else max(ranks)
            if ranks[0] != best:
                raise DoubtError


def _rank(value: Any) -> float | None:
    """0.8, "80%" and "high" as numbers."""
    if isinstance(value, str):
        if value.strip().lower() in _GRADES:
            return float(_GRADES.index(value.strip().lower()))
        number = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*%?\s*", value)
        return float(number[1]) if number else None
    return value if isinstance(value, float) else None


def is_choice(name: str, value: Any) -> bool:
    """Whether a member says which of the others is the answer: "best": 2."""
    return isinstance(value, (float, str)) and len(str(value)) <= _LONGEST_VERDICT and _CHOICE.search(name) is not None


def is_not_meant(name: str) -> bool:
    """Whether the name of a member says that its place is not the answer."""
    return any(_NOT_MEANT.fullmatch(word) for word in WORD.findall(name))


def is_rejected(name: str, value: Any) -> bool:
    """Whether a member says that its object is not the answer."""
    if isinstance(value, bool):
        return any((_NOT_MEANT if value else _MEANT).fullmatch(word) for word in WORD.findall(name))
    if not isinstance(value, str) or len(value) > _LONGEST_VERDICT:
        return False
    judged = any(_MEANT.fullmatch(word) for word in WORD.findall(name))
    return (_NO.match(value) if judged else _NOT_MEANT.fullmatch(value.strip())) is not None
