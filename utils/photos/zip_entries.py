"""The entries of a zip's directory, of which a damaged one costs only itself: zipfile gives up the zip for it.

The format is PKWARE's APPNOTE.TXT: the end of the directory (4.3.14 to 4.3.16), its entries (4.3.12), their fields for
what needs 64 bits (4.5.3).
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from utils.jobs.reading import naming
from utils.photos.zip_member import ZipMember

MAX_DIRECTORY = 2**27  # bytes, of two million members
UNIX = 3  # the system whose kinds of files a directory states

_END = struct.Struct("<4s8xII2x")  # signature; size and offset of the directory, in bytes
_END64 = struct.Struct("<4s36xQQ4s12xI")  # the same with what locates it behind it: signature, number of parts
_ENTRY = struct.Struct("<4sxBBxHH4xIIIHHH4xII")
_MAX_COMMENT = 2**16
_MAX_VERSION = 63  # of the format, in tenths
_IN_64_BITS = 2**32 - 1  # stands where a number does not fit
_UTF8 = 0x800  # flag


class Entry(NamedTuple):
    """What a directory says of a member."""

    name: str
    member: ZipMember
    flags: int
    system: int  # that it was packed on
    attributes: int  # of that system
    problem: str | None  # why it cannot be understood


def read_entries(path: Path) -> list[Entry]:
    """The entries of a zip's directory, in their order.

    A name is UTF-8, or in the code page of DOS where it is not and does not say so: zip 3.0 writes UTF-8 without
    saying so. Raises ``ValueError``, naming the file, where it is no zip or one entry does not follow another.
    """
    with naming(path), open(path, "rb") as file:
        directory, shift = _directory(file)
        return list(_entries(directory, shift))


def _directory(file: BinaryIO) -> tuple[bytes, int]:
    """The directory, and how many bytes stand before the zip, which its offsets do not count."""
    first = max(0, file.seek(0, os.SEEK_END) - _END.size - _MAX_COMMENT)
    file.seek(first)
    tail = file.read()
    found = tail.rfind(b"PK\5\6")
    if not 0 <= found <= len(tail) - _END.size:
        raise ValueError("File is not a zip file")
    end = first + found
    _, size, offset = _END.unpack_from(tail, found)
    file.seek(max(0, end - _END64.size))
    signature, *wide, locator, parts = _END64.unpack(file.read(_END64.size).ljust(_END64.size, b"\0"))
    if signature == b"PK\6\6" and locator == b"PK\6\7":
        (size, offset), end = wide, end - _END64.size
        if parts > 1:
            raise ValueError("it is one of several parts: join them")
    if size > MAX_DIRECTORY:
        raise ValueError(f"its directory of {size:,} bytes is longer than {MAX_DIRECTORY:,}: split it")
    if size > end:
        raise ValueError(f"it ends before its directory of {size:,} bytes does")
    file.seek(end - size)
    return file.read(size), end - size - offset


def _entries(directory: bytes, shift: int) -> Iterator[Entry]:
    place = 0
    while place < len(directory):
        stop = place + _ENTRY.size
        if not directory.startswith(b"PK\1\2", place) or stop > len(directory):
            raise ValueError(f"its directory is damaged at byte {place} of it")
        _, *numbers, name_length, more, comment, attributes, offset = _ENTRY.unpack_from(directory, place)
        name, extra = directory[stop : stop + name_length], directory[stop + name_length : stop + name_length + more]
        place = stop + name_length + more + comment
        if place > len(directory):
            raise ValueError("its directory is damaged: its last entry is cut")
        yield _entry(name, extra, attributes, offset, shift, *numbers)


def _entry(
    raw: bytes, extra: bytes, attributes: int, offset: int, shift: int,
    system: int, version: int, flags: int, method: int, checksum: int, packed: int, size: int,
) -> Entry:  # fmt: skip
    name, problem = _text(raw, flags)
    if version > _MAX_VERSION:
        problem = f"it needs version {version / 10:.1f} of the format"
    numbers = [size, packed, offset]
    wide = [place for place, number in enumerate(numbers) if number == _IN_64_BITS]
    if wide and (field := _field(1, extra)) is not None:
        if len(field) < 8 * len(wide):
            problem = "its zip64 field is cut"
        else:
            for place, number in zip(wide, struct.unpack_from(f"<{len(wide)}Q", field), strict=True):
                numbers[place] = number
    size, packed, offset = numbers
    member = ZipMember(offset + shift, packed, size, method, checksum, raw)
    return Entry(name, member, flags, system, attributes, problem)


def _text(raw: bytes, flags: int) -> tuple[str, str | None]:
    """A name, and what is wrong with it."""
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError:
        if flags & _UTF8:
            return raw.decode("utf-8", "backslashreplace"), "its name is not the UTF-8 that it says it is"
        return raw.decode("cp437"), None


def _field(kind: int, extra: bytes) -> bytes | None:
    """The first of the extra fields that is of this kind, as far as it goes."""
    place = 0
    while place + 4 <= len(extra):
        found, length = struct.unpack_from("<HH", extra, place)
        if found == kind:
            return extra[place + 4 : place + 4 + length]
        place += 4 + length
    return None
