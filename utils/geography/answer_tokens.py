"""A text that may hold coordinates, as tokens of one letter each, so that patterns over the letters say what is meant.

| | |
|---|---|
| `n`, `b` | a number; what looks like one but is broken or part of something else (46,17, 46.1.7, gpt-4.1, 40-45) |
| `d`, `m`, `q` | degrees; minutes or an apostrophe; seconds or a quotation mark |
| `N`, `S`, `E`, `W`, `h` | a side, as a letter or a word; hemisphere |
| `X` | what may mean south or west without saying which: SW, O, minus |
| `x` | a side that qualifies another word: southern coast, west of (names, such as South Africa, are plain words) |
| `a`, `o`, `g` | latitude; longitude; a format that puts longitude first |
| `f`, `t`, `r`, `p`, `&` | words around numbers: is, about; to, or; between; coordinates, location; and |
| `z`, `w` | a word of another quantity (score, km); any other word |
| `L`, `l`, `u` | the end of a line; a horizontal line; any other sign |

Brackets, commas, colons and some other signs stand for themselves.
"""

import re
from dataclasses import dataclass

from utils.geography.answer_words import WORDS

_SIGNS = {"°": "d", "'": "m", '"': "q", "''": "q", "!": ".", "?": ".", "~": "f", "≈": "f", "±": "r"} | {
    sign: sign for sign in ".,;:=()[]{}<>/|&-"
}

# "46.17,7.10" is two numbers; else what digits, dots and commas make without a space is one, or a broken one.
_TOKEN = re.compile(
    r"(?P<number>[-+]?(?:[0-9]++\.[0-9]++(?=,[0-9]++\.[0-9]++(?![.,]?[0-9]))|\.?[0-9](?:[.,]?[0-9])*+)"
    r"(?:e[-+]?[0-9]{1,2}(?![0-9.]))?)"
    r"|(?P<word>(?:lat|lon|lng|long|deg|min|sec|approx|ca)\.(?!\d)|[^\W\d_]+(?:'[^\W\d_]{1,3}(?![^\W\d_]))?)"
    r"|(?P<line>\s*\n\s*)|(?P<rule>-{2,})|(?P<sign>''|\S)",
    re.IGNORECASE,
)
_SOUND = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:e[-+]?[0-9]+)?", re.IGNORECASE)
_LONGEST_NUMBER = 32
# Signs that a number may follow and that may follow it: any other could be its sign, or make it part of something else.
_BEFORE_NUMBER = set("([{<>=:,;|/\"'°~≈@&?.•·")
_AFTER_NUMBER = set(")]}<>=:,;|/\"'°~≈&?!.([{")
_REFERENCE = re.compile(r"\s+of\s+(?:the\s+)?(?:equator|greenwich|prime|meridian)\b", re.IGNORECASE)

# Behind a number, what may stand for a side: so., sth., zap.
_SHORT_SIDE = re.compile(r"[swozjюз]\w{1,3}|m[eé]rid\w{0,6}|down|below|under", re.IGNORECASE)

_HEMISPHERE = re.compile("h[eé]mis", re.IGNORECASE)

# 46 to 47, 46.1 ± 0.2, 46 - 47 and "between 46 and 47" name no one number.
_RANGES = re.compile(r"n[dmq]?[NSEW]?(?:[tr]|-)f?-?n|rf?n[dmq]?[NSEW]?&f?n")


def of_this_or_later_lines(codes: str) -> str:
    """``codes``, which begin in the middle of a line, without the sides that a word introduces in later lines.

    "The coast lies to the west" tells of a landscape, where the first line would tell of the coordinates before it.
    """
    line, _, later = codes.partition("L")
    return line + re.sub("f[NSEW]", "", later)


@dataclass(frozen=True)
class Token:
    code: str
    text: str
    start: int
    end: int

    @property
    def capitalised(self) -> bool:
        return self.text[:1].isupper()


class Tokens:
    """The tokens of ``text``; ``codes`` holds their letters, so that a match in it gives their positions."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = []
        for match in _TOKEN.finditer(text):
            self.tokens += self._read(match)
        codes = "".join(self._in_context(place) for place in range(len(self.tokens)))
        self.codes = _RANGES.sub(lambda found: found[0].replace("n", "b"), codes)

    def _read(self, match: re.Match[str]) -> list[Token]:
        kind, text = match.lastgroup, match[0]
        if kind == "number":
            codes = "n" if self._is_number(match) else "b"
        elif kind == "word":
            codes = self._word(text, match.start())
        else:
            codes = {"line": "L", "rule": "l"}.get(kind) or _SIGNS.get(text, "u")
        return [Token(code, text, match.start(), match.end()) for code in codes]

    def _is_number(self, match: re.Match[str]) -> bool:
        text, (start, end) = match[0], match.span()
        if not _SOUND.fullmatch(text) or len(text) > _LONGEST_NUMBER:
            return False
        before, after = self.text[start - 1 : start], self.text[end : end + 1]
        signed = text[0] in "+-"
        if text[0] == before == ".":  # 48..85
            return False
        if before.isalpha():
            fits = self.tokens[-1].code in ("NSEW" if signed else "NSEWdmq")
        else:
            fits = not before.strip() or before in _BEFORE_NUMBER or (before in ")]" and not signed)
        if after.isalpha():
            return fits and WORDS.get(_TOKEN.match(self.text, end)[0].lower(), "w") in "NSEWXdmq"
        return fits and (not after.strip() or after in _AFTER_NUMBER)

    def _word(self, text: str, start: int) -> str:
        code = WORDS.get(text.lower(), "w")
        following = self.text[start + len(text) : start + len(text) + 1]
        # Of GeoJSON, WKT and what makes points of two numbers: "Point", POINT(, MakePoint(.
        if text.lower().endswith("point") and (text.isupper() or following in ("(", '"', "'")):
            return "g"
        if code in "NSEWX" and text.isascii() and len(text) <= 2 and not text.isupper():
            after_number = bool(self.tokens) and self.tokens[-1].code in "ndmq"
            if not after_number:  # "a s b" says nothing, but "(s)" may be a side
                return "X" if text in ("s", "w") else "w"
        # "gpt-W" is no side.
        return "w" if self.text[start - 1 : start] == "-" and code in "NSEWX" and len(text) == 1 else code

    def _in_context(self, place: int) -> str:
        """The code of a token; that of a side depends on what it stands beside."""
        token = self.tokens[place]
        if token.code not in "NSEWX":
            before = "".join(earlier.code for earlier in self.tokens[max(place - 2, 0) : place])
            short = token.code == "w" and re.search("[nd]$|n[mq]$", before) is not None
            goes_on = place + 1 < len(self.tokens) and self.tokens[place + 1].code in "wfptrzx&"
            return "X" if short and not goes_on and _SHORT_SIDE.fullmatch(token.text) else token.code
        after_number = place > 0 and self.tokens[place - 1].code in "ndmq"
        following = self.tokens[place + 1 : place + 3]
        qualifies = bool(following) and (following[0].code in "wpz" or following[0].text.lower() == "of")
        if len(token.text) == 1 and token.text.isascii():
            initial = len(following) == 2 and following[0].text == "." and following[1].text[0].isalpha()
            letter = token.text.islower() and place > 0 and self.tokens[place - 1].code in "wfptrzao"
            return token.code if after_number or not (initial or qualifies or letter) else "w"
        if not qualifies or _REFERENCE.match(self.text, token.end):
            return token.code
        return "w" if token.capitalised and following[0].capitalised and not after_number else "x"


def hemispheres(text: str) -> str:
    """The sides of the hemispheres that ``text`` names, as letters."""
    if not _HEMISPHERE.search(text):
        return ""
    found = re.findall("([NSEWX])(?:&([NSEWX]))?h|h[:=f]{0,3}([NSEWX])", Tokens(text).codes)
    return "".join(side for sides in found for side in sides)
