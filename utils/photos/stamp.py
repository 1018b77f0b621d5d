"""Whether a photo, or the file that it lies in, is still the same."""

import os
from typing import NamedTuple


class Stamp(NamedTuple):
    """What tells, mostly, whether a photo is still the same."""

    size: int  # bytes
    time: int  # ns since 1970, when it was last written


def stamp(path: str | os.PathLike) -> str:
    """Changes when the file does."""
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns}"
