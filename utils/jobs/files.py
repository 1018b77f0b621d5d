"""Atomic writes: a reader sees the old file or the whole new one, never half of it."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` when the block succeeds.

    The temporary name keeps the file's suffixes, because writers such as ``numpy.save`` or pandas choose the
    format by them. When the block raises, the temporary file is removed and ``path`` is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Where this process writes what ``path`` is going to hold."""
    return path.with_name(f".{os.getpid()}.{path.name}")


def user_cache() -> Path:
    """The folder of what this project keeps for a user beyond a checkout; it need not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "georanker"


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as JSON text in UTF-8, atomically. Raises ``ValueError`` for numbers that JSON has not."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write ``array`` as a ``.npy`` file, atomically.

    ``numpy.save`` to a file on disk leaves the writing to C's buffers, and does not say where the disk is full.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array(_WriteOnly(file), array, allow_pickle=False)


class _WriteOnly:
    """A file of which numpy sees that it can be written to, and no more: so it writes by Python, which says."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def remove_unfinished(folder: str | os.PathLike, name: str | None = None) -> None:
    """Remove what processes that were killed were about to write in ``folder``; no other may be writing there.

    With ``name`` that is the file of this name alone.
    """
    unfinished = re.compile(r"\.\d+\." + (".*" if name is None else re.escape(name)), re.DOTALL)
    for path in Path(folder).glob(".*"):
        if unfinished.fullmatch(path.name) and path.is_file():
            path.unlink()


def move_files(source: str | os.PathLike, folder: str | os.PathLike, last: str) -> None:
    """Move all files of ``source`` into ``folder``, each whole, and remove ``source``.

    Those with the suffix ``last`` go last: whoever sees them sees the others.
    """
    for path in sorted(Path(source).iterdir(), key=lambda path: path.suffix == last):
        os.replace(path, Path(folder) / path.name)
    Path(source).rmdir()
