"""Where a member lies in a zip, and whether it does lie there."""

import struct
from typing import NamedTuple

HEADER = 30  # bytes before the name of a member


def member_id(name: str) -> str:
    """The id of the member ``name``, with or without any ``./`` before it."""
    while name.startswith("./"):
        name = name.removeprefix("./")
    return name


class ZipMember(NamedTuple):
    """Where a file lies in a zip, and what the zip says of it."""

    offset: int  # of the header before it, from the start of the zip
    packed: int  # bytes in the zip
    size: int  # bytes of the file
    method: int  # how it is compressed, see zipfile
    checksum: int  # CRC-32 of the file
    name: bytes  # as it stands in the zip


def header_length(member: ZipMember, data: bytes) -> int:
    """How long the header is that ``data``, what stands at the member's offset, begins with.

    Raises ``ValueError`` where it is no header or that of another member.
    """
    place = f"no member {member.name!r} at byte {member.offset}; has the zip changed?"
    if len(data) < HEADER or not data.startswith(b"PK\3\4"):
        raise ValueError(place)
    method, name_length, more = struct.unpack_from("<8xH16xHH", data)
    if method != member.method or data[HEADER : HEADER + name_length] != member.name:
        raise ValueError(place)
    return HEADER + name_length + more
