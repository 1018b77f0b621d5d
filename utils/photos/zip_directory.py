"""Which members of a zip are photos to read, and which are not and why.

Nothing that a directory says is believed further than a lookup needs: what is read later is held against the header
before the data, the size and the checksum (``zip_store.py``).
"""

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from utils.photos.images import MAX_PIXELS
from utils.photos.index_file import LeftOut
from utils.photos.zip_entries import UNIX, Entry, read_entries
from utils.photos.zip_member import HEADER, ZipMember, header_length, member_id

MAX_SIZE = 4 * MAX_PIXELS  # bytes of the largest photo that is decoded, uncompressed; what is larger is a bomb

_ENCRYPTED = 0x1  # flag


def read_directory(path: Path) -> tuple[list[tuple[str, ZipMember]], list[LeftOut]]:
    """The members of a zip with their ids, in the order of its directory, and what is left out; folders are neither.

    Ids are member names without ``./`` before them. Raises ``ValueError``, naming the file, where it is no zip or its
    directory is damaged.
    """
    if not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path}: neither a file nor a link to one")
    entries, size = read_entries(path), path.stat().st_size
    reasons = {
        number: reason
        for number, entry in enumerate(entries)
        if (reason := next(_reasons(entry, size), None)) is not None
    }
    files = {
        number: entry for number, entry in enumerate(entries) if number not in reasons and not entry.name.endswith("/")
    }
    reasons |= _overlaps(path, files)
    members = [(member_id(entry.name), entry.member) for number, entry in files.items() if number not in reasons]
    return members, [LeftOut(entries[number].name, reasons[number]) for number in sorted(reasons)]


def _reasons(entry: Entry, zip_size: int) -> Iterator[str]:
    """Why a member is no photo to read; ``zip_size`` is in bytes."""
    if entry.problem is not None:
        yield entry.problem
    kind = stat.S_IFMT(entry.attributes >> 16) if entry.system == UNIX else 0
    if kind == stat.S_IFLNK:
        yield "a symbolic link"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        yield "neither a file nor a folder"
    name, member = entry.name, entry.member
    if not name or "\0" in name or "\\" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
        yield "its name is no path inside of a folder"
    if entry.flags & _ENCRYPTED:
        yield "it is encrypted"
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield f"compressed by method {member.method}: pack it with deflate, or without compression"
    if max(member.size, member.packed) > MAX_SIZE:
        yield f"{max(member.size, member.packed):,} bytes, more than the {MAX_SIZE:,} of the largest photo"
    if not 0 <= member.offset <= zip_size - member.packed:
        yield "it lies outside of the zip"


def _overlaps(path: Path, files: dict[int, Entry]) -> dict[int, str]:
    """Number of each file that overlaps another one, and what to say of it.

    Of two it is the one that reaches into the other, as the members of bombs do, unless the other does not stand where
    its entry says.
    """
    found, kept = {}, None
    with open(path, "rb", buffering=0) as file:
        for number in sorted(files, key=lambda number: (files[number].member.offset, number)):
            member = files[number].member
            if kept is None or _end(files[kept].member) <= member.offset:
                kept = number
            elif _stands(member, file.fileno()):
                found[kept], kept = f"it overlaps {files[number].name}", number
            else:
                found[number] = f"it overlaps {files[kept].name}"
    return found


def _end(member: ZipMember) -> int:
    """At least so far it reaches."""
    return member.offset + HEADER + len(member.name) + member.packed


def _stands(member: ZipMember, descriptor: int) -> bool:
    try:
        header_length(member, os.pread(descriptor, HEADER + len(member.name), member.offset))
    except ValueError:
        return False
    return True
