"""Names that others gave, in messages of one line."""


def printable(text: str) -> str:
    """``text`` with what would break a line or command a terminal written as Python writes it."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
