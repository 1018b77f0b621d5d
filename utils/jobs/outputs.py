"""Whether files and folders can be written, and cost nothing that is read, asked before the work that fills them."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from utils.jobs.files import temporary_path

Named = Iterable[tuple[str, str | os.PathLike | None]]


def check_outputs(files: Named = (), folders: Named = ()) -> None:
    """Raise ``OSError`` for the first of ``files`` and ``folders`` (flag as it is given, path) that cannot be written.

    Missing folders are made, and nothing else is left behind; a path of None is not written. The message has one line,
    with the flag, the path and the reason.
    """
    for flag, path in files:
        if path is not None:
            _check(flag, Path(path), Path(path).parent, Path(path))
    for flag, path in folders:
        if path is not None:
            _check(flag, Path(path), Path(path), Path(path, "file"))


def check_apart(outputs: Named, inputs: Named) -> None:
    """Raise ``ValueError`` for the first of ``outputs`` that is one of ``inputs``, under whatever name.

    Both are (flag as it is given, path); a path of None is none. The message has one line, with both flags.
    """
    known = [(flag, path) for flag, path in inputs if path is not None]
    for flag, path in outputs:
        read = None if path is None else next((name for name, other in known if _is_same(path, other)), None)
        if read is not None:
            raise ValueError(f"{flag}: {path} is read, as {read}, and would be overwritten: name another file")


def _is_same(path: str | os.PathLike, other: str | os.PathLike) -> bool:
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)  # a hard link


def _check(flag: str, path: Path, folder: Path, file: Path) -> None:
    """Try to write ``file`` in ``folder``, on behalf of ``path``."""
    try:
        _make(folder)
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if file.exists() and not os.access(file, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        temporary = temporary_path(file)  # under that name it will be written
        temporary.touch()
        temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(f"{flag}: cannot be written: {path}: {error.strerror}") from None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
