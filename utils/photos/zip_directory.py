"""What the directory of a zip says of its members, and which of them are no photos to read.

``zipfile`` reads the directory, zip64 included. Nothing it says is believed further than a lookup needs: what is read
later is held against the header before the data, the size and the checksum (``zip_store.py``).
"""

import stat
import struct
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from utils.jobs.reading import naming
from utils.photos.images import MAX_PIXELS
from utils.photos.index_file import LeftOut

MAX_DIRECTORY = 2**27  # bytes, of two million members: zipfile holds them all, in nine times as much memory
MAX_SIZE = 4 * MAX_PIXELS  # bytes of the largest photo that is decoded, uncompressed; what is larger is a bomb
HEADER = 30  # bytes before the name of a member

_UNIX = 3  # the system whose kinds of files a directory states
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags


class ZipMember(NamedTuple):
    """Where a file lies in a zip, and what the zip says of it."""

    offset: int  # of the header before it, from the start of the zip
    packed: int  # bytes in the zip
    size: int  # bytes of the file
    method: int  # how it is compressed, see zipfile
    checksum: int  # CRC-32 of the file
    name: bytes  # as it stands in the zip


class _Bounded:
    """A file of which only so much is read at once: a directory may say that it is as large as its zip."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self.close, self._file = file.seek, file.tell, file.close, file

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory of {size:,} bytes is longer than {MAX_DIRECTORY:,}: split it")
        return self._file.read(size)


def read_directory(path: Path) -> tuple[list[tuple[str, ZipMember]], list[LeftOut]]:
    """The members of a zip with their ids, in the order of its directory, and what is left out; folders are neither.

    Ids are member names without a leading ``./``. Raises ``ValueError``, naming the file, where it is no zip or its
    directory is damaged.
    """
    # Malformed directories lead zipfile into these, too: an unknown version of the format, bytes that are no text.
    errors = zipfile.BadZipFile, NotImplementedError, struct.error
    with naming(path, *errors), open(path, "rb") as file, zipfile.ZipFile(_Bounded(file)) as archive:
        infos = archive.infolist()
    overlaps, size = _overlaps(infos), path.stat().st_size
    members, left_out = [], []
    for number, info in enumerate(infos):
        reason = next(_reasons(info, size), None) or overlaps.get(number)
        if reason is not None:
            left_out.append(LeftOut(info.orig_filename, reason))
        elif not info.orig_filename.endswith("/"):
            members.append((info.orig_filename.removeprefix("./"), _member(info)))
    return members, left_out


def _member(info: zipfile.ZipInfo) -> ZipMember:
    sizes = info.compress_size, info.file_size
    return ZipMember(info.header_offset, *sizes, info.compress_type, info.CRC, _raw_name(info))


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")


def _reasons(info: zipfile.ZipInfo, zip_size: int) -> Iterator[str]:
    """Why a member is no photo to read; ``zip_size`` is in bytes."""
    kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == _UNIX else 0
    if kind == stat.S_IFLNK:
        yield "a symbolic link"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield "neither a file nor a folder"
    name = info.orig_filename
    if not name or "\0" in name or "\\" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
        yield "its name is no path inside of a folder"
    if info.flag_bits & _ENCRYPTED:
        yield "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield f"compressed by method {info.compress_type}: pack it with deflate, or without compression"
    if max(info.file_size, info.compress_size) > MAX_SIZE:
        yield f"{max(info.file_size, info.compress_size):,} bytes, more than the {MAX_SIZE:,} of the largest photo"
    if not 0 <= info.header_offset <= zip_size - info.compress_size:
        yield "it lies outside of the zip"


def _overlaps(infos: list[zipfile.ZipInfo]) -> dict[int, str]:
    """Number of each member that reaches into the next one, as those of bombs do, and what to say of it."""
    order = sorted(range(len(infos)), key=lambda number: (infos[number].header_offset, number))
    found = {}
    for number, following in pairwise(order):
        info, after = infos[number], infos[following]
        if info.header_offset + HEADER + len(_raw_name(info)) + info.compress_size > after.header_offset:
            found[number] = f"it overlaps {after.orig_filename}"
    return found
