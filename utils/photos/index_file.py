"""What the index files of tars and of zips have in common: SQLite, which any number of processes share and none loads.

A lookup reads a few pages of a B-tree, so memory does not grow with the number of photos.
"""

import os
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from utils.photos.printable import printable


class LeftOut(NamedTuple):
    """What an archive has and its index does not."""

    name: str
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.reason}")


def key(image_id: str) -> bytes:
    """What stands for an id in an index, with or without a leading ``./``; it exists for every string, UTF-8 or not."""
    return image_id.removeprefix("./").encode("utf-8", "surrogatepass")


def text(name: bytes) -> str:
    """The string that has this ``key``, without a leading ``./``."""
    return name.decode("utf-8", "surrogatepass")


class _Connection(threading.local):
    """Of the process and thread that opened it: SQLite connections are used in no other."""

    pid = None
    database = None


class IndexFile:
    """An index file, open for reading. Threads, forked and spawned processes may share an instance."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._connection = _Connection()

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)

    def execute(self, statement: str, *values: bytes | int) -> sqlite3.Cursor:
        """What ``statement`` gives. Raises OSError, naming the file, when it cannot be read."""
        connection = self._connection
        try:
            if connection.pid != os.getpid():
                # Immutable: no locks and no journal, so that it works on read-only file systems.
                uri = f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"
                connection.database = sqlite3.connect(uri, uri=True)
                connection.pid = os.getpid()
            return connection.database.execute(statement, values)
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from error
