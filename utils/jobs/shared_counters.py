"""Numbers that several processes and their data workers add to."""

import fcntl
import functools
import multiprocessing
import os
from pathlib import Path
from typing import Protocol

from utils.jobs import launch_store


class Counter(Protocol):
    """A number that all processes add to."""

    def add(self, amount: int) -> int:
        """Add ``amount`` and return the sum."""


class MemoryCounter:
    """That of one process, in memory that its workers share."""

    def __init__(self) -> None:
        self.value = multiprocessing.Value("q")

    def add(self, amount: int) -> int:
        """Add ``amount`` and return the sum."""
        with self.value.get_lock():
            self.value.value += amount
            return self.value.value


class StoreCounter:
    """That of the processes of one launch, in their store."""

    def __init__(self, name: str) -> None:
        self.add = functools.partial(launch_store.add, name)


class FileCounter:
    """That of processes that never meet, in a file which all of them see.

    Raises ``OSError`` where the file system knows no locks.
    """

    DIGITS = 20  # always so many, so that one write replaces the number

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, amount: int) -> int:
        """Add ``amount`` and return the sum."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            total = int(os.pread(file, self.DIGITS, 0) or 0) + amount
            os.pwrite(file, b"%*d" % (self.DIGITS, total), 0)
            return total
        except OSError as error:
            raise OSError(error.errno, f"cannot be counted in: {error.strerror}", str(self.path)) from None
        finally:
            os.close(file)  # gives up the lock
