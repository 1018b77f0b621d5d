"""What a request is answered where it has no answer: a status, and one line that tells nothing of this machine."""

import re

# The folders of an absolute path. Of `data:` URIs and addresses nothing begins so.
FOLDERS = re.compile(r"(?<![\w:/.,])/(?:[^/\s'\"]+/)+")


TOO_SLOW = 408  # the body, on its way


class Problem(Exception):
    """``status`` is HTTP's; ``retry_after`` seconds it may be asked again."""

    def __init__(self, status: int, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.retry_after = status, one_line(text), retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same photo may be located another time: the app or a server failed, not the photo."""
        return self.status >= 500 or self.status == TOO_SLOW

    def anew(self) -> "Problem":
        """The same without the frames that raised it, which hold the photo as long as the error is kept."""
        return Problem(self.status, self.text, self.retry_after)


def one_line(text: str) -> str:
    """``text`` without line breaks, and of absolute paths only the last part."""
    return without_folders(" ".join(text.split()))


def without_folders(text: str) -> str:
    """``text`` with only the last part of each absolute path."""
    return FOLDERS.sub("", text)


def told(value: object) -> object:
    """What JSON may tell others: ``value`` ``without_folders`` in any of its texts."""
    if isinstance(value, dict):
        return {name: told(part) for name, part in value.items()}
    if isinstance(value, list):
        return [told(part) for part in value]
    if isinstance(value, str) and not value.startswith("data:"):
        return without_folders(value)
    return value
