"""Angles in text, as degrees with minutes, seconds and sides: 46.17, -46, 46.17° N, S 46°10'2", 46.17 (south)."""

import re
from dataclasses import dataclass

from utils.geography.answer_tokens import Tokens

LATITUDE, LONGITUDE = "NS", "EW"


class DoubtError(Exception):
    """A place is named, but which one cannot be told."""


# In the letters of answer_tokens. A side before the number may have the angle's name behind it ("south latitude 46");
# one after it may stand in brackets, or behind a comma or a name where no other number follows, whose it could be.
_ANGLE = re.compile(
    r"(?:(?P<before>[NSEW])[)\]}]{0,2}(?P<name_before>[ao]?)[)\]}]{0,2}[:=fpd]{0,4}[(\[{]{0,2})?"
    r"(?P<dash>(?:-[)\]}]?)?)(?P<degrees>n)(?P<mark>d)?"
    r"(?:(?(mark),?)(?P<minutes>n)m)?(?:(?(minutes),?|(?<=d),?)(?P<seconds>n)q)?"
    r"(?(before)|(?:[)\]}]{0,2}(?:[(\[{]{0,2}|[-/|<q])[fptd]{0,3}(?P<after>[NSEW])[)\]}]{0,2}"
    r"|[)\]}q]{0,2}(?:(?P<name_after>[ao]),?|,)[(\[{q]{0,2}f{0,2}(?P<later>[NSEW])(?![)\]}:=fptaoq(\[{]{0,6}-?n)[)\]}]{0,2})?)"
)


@dataclass(frozen=True)
class Angle:
    """One angle as it is written, and where it stands among the tokens."""

    size: float  # degrees without sign, NaN for what nobody would write (46.5°75')
    sign: str  # "-", "+", "", or "?" for a dash that may be a minus
    sides: str = ""  # those that it is given, as letters
    decimals: int = 0
    name_before: str = ""  # "a" or "o" where the name of the angle stands among its parts
    name_after: str = ""
    start: int = 0
    end: int = 0

    @property
    def side_axis(self) -> str:
        """LATITUDE, LONGITUDE or nothing, after the sides. Raises ``DoubtError`` where they disagree."""
        axes = {axis for axis in (LATITUDE, LONGITUDE) for side in self.sides if side in axis}
        if len(axes) > 1:
            raise DoubtError
        return "".join(axes)

    def on(self, axis: str, others: str = "") -> float:
        """Signed degrees as a ``LATITUDE`` or ``LONGITUDE``.

        Args:
            axis: whose the angle is.
            others: sides that are named near the angle without being part of it.

        Raises:
            DoubtError: where the sign or a side contradict each other, or a side of ``others`` may be the angle's.
        """
        sides = {side for side in self.sides if side in axis}
        if len(sides) != len(set(self.sides)) or len(sides) > 1:
            raise DoubtError
        negative = axis[1]
        if sides:
            south_or_west = negative in sides
            # A minus beside "south" says the same twice.
            if self.sign == ("+" if south_or_west else "-") or (set(others) & set(axis)) - sides:
                raise DoubtError
            return -self.size if south_or_west else self.size
        if self.sign == "?" or (not self.sign and {negative, "X"} & set(others)):
            raise DoubtError
        return -self.size if self.sign == "-" else self.size


def find_angles(tokens: Tokens) -> list[Angle]:
    """All angles, in their order; numbers without marks are angles, too."""
    return [_angle(tokens, match) for match in _ANGLE.finditer(tokens.codes)]


def whole_angle(tokens: Tokens) -> Angle | None:
    """The angle that the tokens are, where they are little else ("about 46.17 degrees south latitude")."""
    angles = find_angles(tokens)
    if len(angles) != 1:
        return None
    before, behind = tokens.codes[: angles[0].start], tokens.codes[angles[0].end :]
    return (
        angles[0] if re.fullmatch("f*", before) and re.fullmatch(r"[)\]}>q|]?[aohf]{0,6}[)\]}]?\.?", behind) else None
    )


def _angle(tokens: Tokens, match: re.Match[str]) -> Angle:
    degrees, minutes, seconds = (
        tokens.tokens[match.start(part)].text if match[part] else "0" for part in ("degrees", "minutes", "seconds")
    )
    sign = degrees[0] if degrees[0] in "+-" else ""
    return Angle(
        _size(abs(float(degrees)), float(minutes), float(seconds)),
        "?" if match["dash"] else sign,
        "".join(match[part] or "" for part in ("before", "after", "later")),
        len(degrees.partition(".")[2]),
        match["name_before"] or "",
        match["name_after"] or "",
        match.start(),
        match.end(),
    )


def _size(degrees: float, minutes: float, seconds: float) -> float:
    """Degrees, NaN where minutes or seconds are none, or stand behind a part that has a fraction of its own."""
    broken = ((minutes or seconds) and degrees % 1) or (seconds and minutes % 1)
    if broken or not (0 <= minutes < 60 and 0 <= seconds < 60):
        return float("nan")
    return degrees + minutes / 60 + seconds / 3600
