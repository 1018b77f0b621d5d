"""Append-only logs of JSON lines: one writer at a time, any number of readers, and a kill costs at most the last line.

A last line that has no line break and is no JSON object is torn: its writer is at it, or was killed. Readers pass over
it, the next writer cuts it off. Blank lines are ignored.
"""

import errno
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from utils.jobs.locks import take, this_process

logger = logging.getLogger(__name__)

BLOCK = 65536  # bytes that are read at once when the last line break is looked for


class OtherSettings(ValueError):
    """The first line of a log does not hold the settings at hand; ``differences`` names those that differ."""

    def __init__(self, path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        names = [name for name in expected | found if found.get(name) != expected.get(name)]
        self.differences = "; ".join(f"{name} {found.get(name)}, not {expected.get(name)}" for name in names)
        super().__init__(f"{path} was made with other settings, {self.differences}")


class JsonLines(AbstractContextManager):
    """The log at ``path``, open for its one writer: a JSON object a line, the first of them with the settings.

    The file is locked (``utils/jobs/locks.py``) until ``close``, or until its process ends, however it does. Forked
    processes cannot write. What threads add must not overlap.

    Args:
        settings: what the records depend on, ready for JSON. A new file begins with them; with None, with a record.
        wait: wait for another writer instead of refusing.

    Raises:
        InUse: when another process or object writes this file: names the file and its writer.
        OtherSettings: when the file begins with anything but ``settings``. It is left as it was.
    """

    def __init__(
        self, path: str | os.PathLike, settings: Mapping[str, Any] | None = None, *, wait: bool = False
    ) -> None:
        self.path = Path(path)
        self.settings = settings
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = self.path.with_name(f"{self.path.name}.lock")  # says who writes, while somebody does
        self._file = open(self.path, "ab+", buffering=0)  # noqa: SIM115
        take(self._file, self.path, self._writer, wait=wait)
        self._writer.write_text(f"{this_process()}\n")
        try:
            if settings is not None:
                check_settings(self.path, settings)
            self._cut_torn_line()
            if settings is not None and self._end() == 0:
                self.add(settings)
        except BaseException:
            self.close()
            raise

    def add(self, record: Mapping[str, Any]) -> int:
        """Append a line, in one write, and return its offset in bytes.

        The line is with the operating system when this returns, so a killed process loses none. It is not forced to
        the disk: a power cut may cost the last seconds. Raises ``ValueError`` for numbers that JSON has not, and
        ``OSError`` when the disk is full; neither adds anything.
        """
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        offset = self._end()
        if self._file.write(line) < len(line):
            self._file.truncate(offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return offset

    def sync(self) -> None:
        """Write through to the disk, or to the server of a shared file system, where other machines see it."""
        os.fsync(self._file.fileno())

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The records so far, see ``read_json_lines``."""
        return read_json_lines(self.path, self.settings)

    def close(self) -> None:
        """Let others write."""
        if not self._file.closed:
            self._writer.unlink(missing_ok=True)
            self._file.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> int:
        return self._file.seek(0, os.SEEK_END)

    def _cut_torn_line(self) -> None:
        """Cut off what was torn; a whole record that only lacks its line break, as editors leave it, is kept."""
        size = end = self._end()
        while end > 0:
            start = max(0, end - BLOCK)
            self._file.seek(start)
            if (last := self._file.read(end - start).rfind(b"\n")) >= 0:
                end = start + last + 1
                break
            end = start
        if end < size:
            self._file.seek(end)
            if _parse(self._file.read()) is not None:
                self._file.write(b"\n")
            else:
                self._file.truncate(end)


def read_json_lines(
    path: str | os.PathLike, settings: Mapping[str, Any] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a log with their offsets in bytes, whoever writes it meanwhile. The line of settings is none.

    A whole line that holds no JSON object is skipped with a warning. Raises ``OtherSettings`` when ``settings`` are
    given and the file begins with anything else.
    """
    offset = 0
    with open(path, "rb") as file:
        if settings is not None:
            offset = _skip_settings(file, Path(path), settings)
        for number, line in enumerate(file, 1 if settings is None else 2):
            if not line.endswith(b"\n") and _parse(line) is None:
                break
            if line.strip():
                record = _parse(line)
                if record is None:
                    logger.warning("%s: line %d is no JSON object and is skipped", path, number)
                else:
                    yield offset, record
            offset += len(line)


def check_settings(path: str | os.PathLike, settings: Mapping[str, Any]) -> None:
    """Raise ``OtherSettings`` when the file begins with anything but ``settings`` or the torn start of a line."""
    with open(path, "rb") as file:
        _skip_settings(file, Path(path), settings)


def first_record(path: str | os.PathLike) -> dict[str, Any]:
    """The record of the first line, such as its settings; empty where it holds none."""
    with open(path, "rb") as file:
        return _parse(file.readline()) or {}


def read_record(path: str | os.PathLike, offset: int) -> dict[str, Any]:
    """The record whose line begins at ``offset`` (bytes)."""
    with open(path, "rb") as file:
        file.seek(offset)
        return json.loads(file.readline())


def _skip_settings(file: IO[bytes], path: Path, settings: Mapping[str, Any]) -> int:
    """Read and check the first line; returns where the second one begins (bytes)."""
    line = file.readline()
    expected = json.loads(json.dumps(settings))  # JSON has lists for tuples
    found = _parse(line)
    if (line.endswith(b"\n") or found is not None) and found != expected:
        raise OtherSettings(path, found or {}, expected)
    return len(line)


def _parse(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a line, None where it holds anything else."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
