"""What a language model's answer says, without its thinking and without the many ways of encoding the same sign."""

import html
import re

# An answer is a line or two. What follows this many characters, thinking not counted, is not looked at.
LOOKED_AT = 16_384

_THOUGHT = r"think|thought|reason|analysis|reflect|scratch|rationale|monologue|chain_of|cot\b|internal|inner_|planning"
# <think>, </thinking>, <seed:think>, <|END_THINKING|>, <|begin_of_thought|>, [THINK], ◁/think▷; channels of their own;
# and what is left of channels where the special tokens were dropped.
_TAG = re.compile(
    r"(?:\\?<\s?/?\|?|◁|\[(?=/?(?:begin_|start_|end_)?think))\s?(?P<name>/?\s?[\w:]{0,40}?"
    rf"(?:{_THOUGHT})[\w:]{{0,60}})(?:\s[^<>]{{0,100}})?(?P<empty>/)?(?:\\?\|?>|▷|\])"
    rf"|<\|?channel\|?>(?:\s{{0,3}}(?P<channel>final\b|(?:{_THOUGHT}|commentary)))?|<(?:unused|ctrl)(?P<number>94|95)>"
    r"|^(?P<bare>analysis)(?=[A-Z])|(?P<final>assistantfinal)",
    re.IGNORECASE,
)
_CLOSING = re.compile(r"\W*/|\W*(?:\w*_)?(?:end|suffix)(?:_|\b)", re.IGNORECASE)
_FENCE = re.compile(rf"```\s?(?:{_THOUGHT})\w{{0,9}}\n(?:[^`]|`(?!``))*+(?P<closed>```)?", re.IGNORECASE)
# Members of JSON that hold thinking, closed or cut off.
_THOUGHT_MEMBER = re.compile(
    rf"(\"[^\"\\]{{0,20}}(?:{_THOUGHT}|explanation)[^\"\\]{{0,20}}\"\s{{0,9}}:\s{{0,9}})\"(?:[^\"\\]|\\.)*+\"?",
    re.IGNORECASE | re.DOTALL,
)

# What is struck out, in Markdown and HTML.
_STRUCK = re.compile(
    r"~~(?:[^~\n]|~(?!~))++~~|<(?P<tag>s|del|strike)>(?:[^<]|<(?!/(?:s|del|strike)>))*+(?:</(?P=tag)>|$)", re.IGNORECASE
)

_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,16}\d{0,2});", re.IGNORECASE)
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})", re.IGNORECASE)

# Hyphens, dashes and minuses of all scripts.
_DASHES = (
    "\u058a\u05be\u1400\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2052\u207b\u208b\u2212\u2500\u2501\u2796\u02d7"
    "\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d\u30a0\u30fc\uff70\ufe31\ufe32\ufe58\ufe63\uff0d\U00010ead"
)
_DEGREES = "\u00ba\u02da\u2070\u1d52\u2218\u25e6"
_INVISIBLE = (
    "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_SIGNS = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full width
    | dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_DEGREES, "°")
    | dict.fromkeys(_INVISIBLE)
    | {"、": ",", "。": "."}
)
_QUOTES = str.maketrans(
    dict.fromkeys("\u2018\u2019\u02b9\u02bc\u00b4\u2032", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u02ba\u2033", '"')
    | dict.fromkeys("*_`$#", " ")  # what Markdown and LaTeX set around things
)
_BLANKS = re.compile(r"[^\S\n]+")
# In this order. LaTeX and HTML say by commands and tags what others say by signs; of the rest only the text is kept.
_MARKUP = [
    (re.compile(pattern, re.IGNORECASE), sign)
    for pattern, sign in (
        (r"\^\s?\{?\s?(?:(?:\\circ|\\degree|o)\b|°)\s?\}?|\\(?:text)?degree\b|<sup>\s?[o0°]\s?</sup>", "°"),
        (r"\^\s?\{?\s?(?:\\prime\s?){2}\}?", '"'),
        (r"\^\s?\{?\s?\\prime\b\s?\}?", "'"),
        (r"\\(?:text|math|operator)[a-z]{0,6}\s?(?=\{)|\\(?:left|right|rm|q?quad)\b|\\[,;:! ]", " "),
        (r"\\[nr]", "\n"),
        (r"\\([^\w\s])", r"\1"),
        (r"<coordinates>", " KML "),
        (r"</[^<>]{0,50}>|<(?:b|i|em|strong|sup|sub|span|p|div|td|code|small|u|mark)>", " "),
        (r"<(?:br|tr|li)\s?/?>", "\n"),
        (r"\bbelow (?:the )?equator\b", "south"),
        (r"\b(?:minus|negative)\s{1,3}(?=[\d.])|\{-\}(?=[\d.])", "-"),
        (r"\b(?:plus|positive)\s{1,3}(?=[\d.])", "+"),
    )
]


def final_text(text: str) -> str | None:
    """``text`` without thinking and what is struck out; None where thinking does not end: the answer has not come then.

    HTML's entities and the look-alikes of minus and degree signs are resolved, so that JSON can be read of the result.
    """
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text).translate(_SIGNS)
    kept, depth, end = [], 0, 0
    for tag in _TAG.finditer(text):
        if not depth:
            kept.append(text[end : tag.start()])
        end = tag.end()
        if _closes(tag):
            if not depth:
                kept.clear()  # all before it was thinking, which began in the prompt
            depth = max(depth - 1, 0)
        elif not tag["empty"]:
            depth += 1
    text = "\n".join([*kept, text[end:]])
    if depth or any(not fence["closed"] for fence in _FENCE.finditer(text)):
        return None
    return _THOUGHT_MEMBER.sub(r'\1""', _STRUCK.sub(" ", _FENCE.sub(" ", text)))


def _closes(tag: re.Match[str]) -> bool:
    if tag["name"] is not None:
        return _CLOSING.match(tag[0]) is not None
    if tag["bare"] is not None:
        return False
    return tag["channel"] in (None, "final") and tag["number"] in (None, "95")


def plain(text: str) -> str:
    """``text`` with one sign for each thing: of quotes, primes, escapes, LaTeX, Markdown and HTML only the text."""
    text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    for pattern, sign in _MARKUP:
        text = pattern.sub(sign, text)
    return _BLANKS.sub(" ", text.translate(_SIGNS).translate(_QUOTES))
