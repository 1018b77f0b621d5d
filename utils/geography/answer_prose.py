"""Places in the prose of an answer: two angles behind one another, and what says which is which."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from utils.geography.angles import LATITUDE, LONGITUDE, Angle, DoubtError, find_angles
from utils.geography.answer_choice import Mention
from utils.geography.answer_tokens import Tokens, of_this_or_later_lines

# How many tokens around a pair of angles are looked at, for their names and, further behind it, for their sides.
_NEAR, _FAR = 16, 60
_AXES = {"": "", "a": LATITUDE, "o": LONGITUDE}

# All in the letters of answer_tokens. "latitude is about" before an angle, "degrees of latitude" behind one.
_NAME_BEFORE = re.compile(r"(?P<quote>[qm]?)(?P<name>[ao])[)\]}]?(?P<tail>[^ao.;wzuxX&}NSEW]*)$")
_NAME_AFTER = re.compile(r"[)\]}]{0,2}[(\[{]{0,2}[fptd]{0,3}([ao])(?![):=fptqm(|\[{\]}]{0,4}-?n)")
# "(longitude, latitude)" anywhere, just before two angles, and just behind them.
_ORDER = re.compile(r"([ao])[^aonb.L]{0,4}(?!\1)[ao]")
_ORDER_BEFORE = re.compile(r"([ao])[^aonb.w]{0,4}(?!\1)([ao])[^aonbwz.Xx]{0,12}$")
_ORDER_AFTER = re.compile(r"[)\]}]{0,2}[(\[{,]{0,2}f{0,2}([ao])[^aonb.wL]{0,4}(?!\1)([ao])")
# What may stand between two angles: names and words around them; or what only separates them.
_WORDLESS = re.compile(r"[^wzuxX]{0,10}")
_SEPARATOR = re.compile(r"[qm]?[)\]}]?[,;/|L&]{0,2}[(\[{]?[qm]?")
# How a pair ends that nothing but its digits says to be a place; and how its line does.
_ENDS = re.compile(r"[)\]}qm]*(?:$|[.,;:L<|&f])")
_LINE_ENDS = re.compile(r"[)\]}qm.]*(?:$|L)")
_MEMBER = re.compile(r"([qm])[ao]\1:[qm]?$")
# In the text: what may stand behind an angle that is not finished, and what says that no side follows it.
_UNFINISHED = " \t\n.°'\""
_VALUE_ENDS = re.compile(r"[ \t°'\"]*[,}]")
_ENDED = re.compile(r"[ \t°'\"]*(?:[;)\]}|\n]|\.\s|,\s*[^\W\d_]{2,}\W)")


@dataclass(frozen=True)
class _Pair:
    """Two angles behind one another, and the letters of what stands around them."""

    first: Angle
    second: Angle
    left: str  # behind the angle before, at most _NEAR
    between: str
    right: str  # up to the angle after, at most _NEAR
    far: str  # behind the pair, whatever it is, at most _FAR

    def place(self, axes: tuple[str, str]) -> tuple[float, float]:
        """(latitude, longitude), where ``axes`` are those of the two angles."""
        near = self.left + self.between.replace("x", "X") + self.right
        if any(re.match(r"[)\]}qm,]*[xu]", behind) for behind in (self.between, self.right)):
            near += "X"
        far = near + of_this_or_later_lines(self.far)
        degrees = {
            axis: angle.on(axis, near if angle.sides else far)
            for axis, angle in zip(axes, (self.first, self.second), strict=True)
        }
        return degrees[LATITUDE], degrees[LONGITUDE]


def places_in_prose(tokens: Tokens, others: str, cut: bool) -> list[Mention]:
    """The pairs of angles that names, sides or a stated order mark as places, and the pairs of decimals that look like
    one, in their order.

    Args:
        tokens: of the text.
        others: sides that the text names elsewhere.
        cut: whether the text was cut off at its end.

    Raises:
        DoubtError: where only decimals are there, and the first of them are rather no place.
    """
    pairs = list(_pairs(tokens, others))
    marked = _mentions(pairs, _axes, tokens, cut)
    firsts = _firsts(tokens.codes)

    def unmarked(pair: _Pair) -> tuple[str, str] | None:
        return _unmarked(pair, tokens.codes, firsts)

    taken = {angle.start for pair, _ in marked for angle in (pair.first, pair.second)}
    rest = [pair for pair in pairs if not {pair.first.start, pair.second.start} & taken]
    decimals = _mentions(rest, unmarked, tokens, cut)
    if marked:
        decimals = [(pair, mention) for pair, mention in decimals if mention.place is not None]
    found = sorted((*marked, *decimals), key=lambda found: found[0].first.start)
    return [mention for _, mention in found]


def _mentions(
    pairs: Sequence[_Pair], read: Callable[[_Pair], tuple[str, str] | None], tokens: Tokens, cut: bool
) -> list[tuple[_Pair, Mention]]:
    """Those of ``pairs`` of which ``read`` can tell the axes, or cannot decide on them; no angle is part of two."""
    found, end = [], 0
    for pair in pairs:
        if pair.first.start < end:
            continue
        place = None
        try:
            if (axes := read(pair)) is None:
                continue
            _check_ends(pair, tokens, cut)
            place = pair.place(axes)
        except DoubtError:
            pass
        first, last = tokens.tokens[pair.first.start], tokens.tokens[pair.second.end - 1]
        found.append((pair, Mention(first.start, last.end, place)))
        if place is not None:
            end = pair.second.end
    return found


def _pairs(tokens: Tokens, others: str) -> Iterator[_Pair]:
    codes, end = tokens.codes, 0
    angles = find_angles(tokens)
    starts = [*(angle.start for angle in angles), len(codes)]
    for (first, second), after in zip(pairwise(angles), starts[2:], strict=True):
        between = codes[first.end : second.start]
        if len(between) <= _NEAR and "b" not in between:
            left = codes[max(end, first.start - _NEAR) : first.start].rpartition("b")[2]
            right = codes[second.end : min(second.end + _NEAR, after)].partition("b")[0]
            yield _Pair(first, second, left, between, right, codes[second.end : second.end + _FAR] + others)
        end = first.end


def _axes(pair: _Pair) -> tuple[str, str] | None:
    """The axes of both angles by their names, sides and the stated order; None where these do not say them."""
    before = (
        pair.first.name_before or _name_before(pair.left, pair.between),
        pair.second.name_before or _name_before(pair.between, pair.right),
    )
    after = (
        pair.first.name_after or _name_after(pair.between),
        pair.second.name_after or _name_after(pair.right),
    )
    readings = [before] if any(before) else []
    if _WORDLESS.fullmatch(pair.between):
        readings += [after] if any((*before, *after)) else [("", "")]
    if _SEPARATOR.fullmatch(pair.between):
        readings += [(before[0], after[1])]
        readings += [
            (order[1], order[2]) for order in (_ORDER_BEFORE.search(pair.left), _ORDER_AFTER.match(pair.right)) if order
        ]
    sides = pair.first.side_axis, pair.second.side_axis
    found = {axes for reading in readings if (axes := _combine(reading, sides)) is not None}
    if len(found) > 1:
        raise DoubtError
    return found.pop() if found else None


def _combine(names: tuple[str, str], sides: tuple[str, str]) -> tuple[str, str] | None:
    """The axes of two angles that have these names and sides; None where they disagree or do not say both."""
    both = [{_AXES[name], side} - {""} for name, side in zip(names, sides, strict=True)]
    if [len(axes) for axes in both] != [1, 1] or both[0] == both[1]:
        return None
    return both[0].pop(), both[1].pop()


def _name_before(text: str, behind: str) -> str:
    """The name that ends ``text``, so that what follows is its number; of a member of JSON, nothing else may follow."""
    match = _NAME_BEFORE.search(text)
    if match is None:
        return ""
    if match["quote"] and match["tail"].startswith(match["quote"] + ":"):
        if set(match["tail"]) & set("fptr"):
            return ""
        if not re.match(r"[aoh]?(?:$|[,}\]qmdL<])", behind):
            raise DoubtError
    return match["name"]


def _name_after(text: str) -> str:
    match = _NAME_AFTER.match(text)
    return match[1] if match else ""


def _firsts(codes: str) -> set[str]:
    """The axes that an order stated anywhere puts first."""
    return set(_ORDER.findall(codes)) | {"o" for code in codes if code == "g"}


def _unmarked(pair: _Pair, codes: str, firsts: set[str]) -> tuple[str, str] | None:
    """The axes of two decimals without names and sides, latitude first where nothing says otherwise.

    Raises ``DoubtError`` where such two are rather no place: the first ones of a text decide.
    """
    first, second = pair.first, pair.second
    whole = len(codes) == len(pair.left) + (second.end - first.start) + len(pair.right) and (
        re.fullmatch(r"[(\[{qmL]*", pair.left) and re.fullmatch(r"[)\]}qm.L]*", pair.right)
    )
    wkt = pair.left.endswith("g(")
    if not (pair.between in (",", ";") and first.decimals and second.decimals) and not (
        (whole or wkt) and pair.between in ("", ",", ";")
    ):
        return None
    if first.sides or second.sides or (wkt and pair.between) or not (whole or wkt or _is_trusted(pair, codes)):
        raise DoubtError
    if len(firsts) > 1 or (not firsts and "o" in pair.left + pair.right):
        raise DoubtError
    return (LONGITUDE, LATITUDE) if firsts == {"o"} else (LATITUDE, LONGITUDE)


def _is_trusted(pair: _Pair, codes: str) -> bool:
    """Whether two decimals are a place by their digits, their line, or the words before them."""
    clause = re.split("[.L]", pair.left)[-1]
    fewest = min(pair.first.decimals, pair.second.decimals)
    listed = re.search("[nbd][,;]$", codes[max(pair.first.start - 2, 0) : pair.first.start]) or re.match(
        "[,;]-?[nb]", codes[pair.second.end : pair.second.end + 3]
    )
    if listed or "z" in clause or not _ENDS.match(pair.right):
        return False
    alone = not re.search("[wfp]", clause) and _LINE_ENDS.match(pair.right) is not None
    bracketed = clause[-1:] in ("(", "[", "{")
    exact = fewest >= (2 if bracketed else 3) and max(pair.first.size, pair.second.size) > 1  # no shares of one
    return alone or exact or bool(set(clause) & set("pao"))


def _check_ends(pair: _Pair, tokens: Tokens, cut: bool) -> None:
    """Raises ``DoubtError`` where the first angle may begin earlier, or the second go on behind the end of the text."""
    if tokens.codes[max(pair.first.start - 1, 0) : pair.first.start] in ("n", "b"):
        raise DoubtError  # 4 8.8566
    if pair.far[:1] in ("n", "b") and tokens.codes[pair.first.start] in "NSEW":
        raise DoubtError  # N46 30.5 E7 15.2
    if pair.between == "|" and pair.far.startswith("|n") and not pair.first.decimals:
        raise DoubtError  # | 1 | 46.17 | 7.10 |
    second, member = pair.second, _MEMBER.search(pair.between) is not None
    rest = tokens.text[tokens.tokens[second.end - 1].end :]
    if cut:
        if not _is_ended(pair, rest, member) or pair.far[:1] in ("n", "b") or set(pair.right) & set("aoh"):
            raise DoubtError
    elif pair.far[:1] in ("n", "b") and not second.sides:
        raise DoubtError
    elif not (rest.strip(_UNFINISHED) or second.sides or second.decimals) and (member or pair.first.decimals > 1):
        raise DoubtError  # 32.7157, -1


def _is_ended(pair: _Pair, rest: str, member: bool) -> bool:
    """Whether the ``rest`` of a text that was cut off shows that the second angle is complete, side included."""
    if pair.second.sides or pair.second.sign == "-":
        return bool(rest.strip(_UNFINISHED))
    if not member:
        return _ENDED.match(rest) is not None
    # Where the first angle has a side, the second may have one in the next member.
    return _VALUE_ENDS.match(rest) is not None and not re.search("[NSEWX]", pair.first.sides + pair.between)
