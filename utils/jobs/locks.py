"""Locks: one writer at a time for a file or a folder. Who comes second is told who holds it.

They are ``flock``'s, which the system gives up when a process ends, however it does. Forked processes, such as the
workers of a DataLoader, let go of a lock when they start: one that outlives its parent does not keep it.
"""

import errno
import fcntl
import logging
import os
import platform
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from utils.jobs.files import remove_unfinished

logger = logging.getLogger(__name__)

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # what file systems say that know no locks


class InUse(ValueError):
    """Another process or object holds the lock."""


def this_process() -> str:
    """What a holder writes down about itself."""
    return f"process {os.getpid()} on {platform.node()}"


def take(file: FileIO, path: Path, holder: Path, *, wait: bool = False) -> None:
    """Lock the open ``file``, on behalf of ``path``, until it is closed; closes it where that fails.

    ``holder`` is the file in which its holder writes ``this_process()``. Raises ``InUse``, naming ``path`` and the
    holder, unless it is to ``wait``; where the file system knows no locks, a warning says so.
    """
    _locked.add(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy = f"{path} is being written by {_read(holder)}"
        if not wait:
            file.close()
            raise InUse(busy) from None
        logger.info("%s: waiting for it", busy)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            file.close()
            raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(path)) from None
        logger.warning("%s cannot be locked on this file system: let no other process write to it", path)


@contextmanager
def alone_in(folder: str | os.PathLike, rank: int = 0) -> Iterator[int | None]:
    """Keep other writers off ``folder``, which is made if need be; yields the descriptor of its lock.

    The lock is the file ``.lock`` in it, there as long as it is held. What a killed holder was about to write in the
    folder is removed. Of the processes of one launch the first one
    holds it for all: those of a ``rank`` above 0 get None. Raises ``InUse``.
    """
    if rank > 0:
        yield None
        return
    path = Path(folder) / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _taken(path) as file:
        file.truncate(0)
        file.write(f"{this_process()}\n".encode())
        remove_unfinished(folder)
        try:
            yield file.fileno()
        finally:
            if not file.closed:  # as it is in a forked process
                path.unlink(missing_ok=True)


@contextmanager
def making(path: Path) -> Iterator[None]:
    """Wait until no other process is making the file ``path``; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with open(lock, "ab", buffering=0) as file:
        take(file, path, lock, wait=True)
        yield
        # Only after success: then whoever waits for the old lock, or makes a new one, finds the work done.
        lock.unlink(missing_ok=True)


def _taken(path: Path) -> FileIO:
    while True:
        file = open(path, "ab", buffering=0)  # noqa: SIM115
        take(file, path.parent, path)
        if _is_at(file, path):
            return file
        file.close()  # its holder has just removed it, and the next one may have made another


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _read(holder: Path) -> str:
    try:
        return holder.read_text().strip() or "another process"
    except FileNotFoundError:  # it is just beginning or ending
        return "another process"


_locked: weakref.WeakSet[FileIO] = weakref.WeakSet()


def _let_go() -> None:
    """Close the parent's files in a forked process, which leaves them locked by the parent alone."""
    for file in list(_locked):
        file.close()


os.register_at_fork(after_in_child=_let_go)
