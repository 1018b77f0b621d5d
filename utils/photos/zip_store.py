"""Photos in zips, read where they stand, without unpacking them."""

import functools
import io
import os
import zipfile
import zlib
from pathlib import Path

from utils.photos.stamp import Stamp
from utils.photos.zip_index import ZipIndex, open_zip_index
from utils.photos.zip_member import HEADER, ZipMember, header_length

OPEN_FILES = 128  # zips that a process keeps open
PIECE = 2**26  # bytes that are inflated at once
SLACK = 64  # bytes read beyond what is needed: a header may have more fields than the directory says


class ZipStore:
    """The members of a zip, or of all zips in a folder, by name; folders in names may be left out where it is clear.

    Reading is stateless (``pread``), so threads and forked workers share one instance. A zip is opened when one of its
    members is read, and again in a process that received the instance pickled.

    Args:
        path: a zip, or a folder of zips.
        index: theirs (``open_zip_index``).
    """

    def __init__(self, path: str | os.PathLike, index: ZipIndex | None = None) -> None:
        self.path = Path(path)
        self.index = open_zip_index(self.path) if index is None else index
        self._folder = self.path if self.path.is_dir() else self.path.parent
        # Of one that is dropped while another thread reads it, that thread holds on to the file until it has read.
        self._file = functools.lru_cache(OPEN_FILES)(self._open)

    def __getstate__(self) -> tuple[Path, ZipIndex]:
        return self.path, self.index

    def __setstate__(self, state: tuple[Path, ZipIndex]) -> None:
        self.__init__(*state)

    def _open(self, name: str, _stamp: str) -> io.FileIO:
        """The zip of this name; opened again when another index says that it has changed."""
        return open(self._folder / name, "rb", buffering=0)

    def find(self, name: str) -> str | None:
        """The id of the member that ``name`` stands for; None where there is none.

        Raises ``Unclear`` where it may be that of several, or of one that is left out.
        """
        return self.index.find(name)

    def read(self, name: str) -> bytes:
        """The bytes of a member. Raises OSError, naming the zip, where they are not those that its directory states."""
        file, made_of, member = self.index[name]
        try:
            return _unpacked(member, _packed(member, self._file(file, made_of)))
        except ValueError as error:
            raise OSError(f"{self._folder / file}: {error}") from error

    def stamp(self, name: str) -> Stamp:
        """Its time is that of the whole zip."""
        file, made_of, member = self.index[name]
        return Stamp(member.size, os.fstat(self._file(file, made_of).fileno()).st_mtime_ns)

    def why_left_out(self, name: str) -> str | None:
        return self.index.why_left_out(name)

    def __str__(self) -> str:
        return str(self.path / "*.zip" if self._folder == self.path else self.path)


def _packed(member: ZipMember, file: io.FileIO) -> bytes:
    """What stands in the zip, compressed or not. Raises ``ValueError`` where no such member stands there."""
    most = HEADER + len(member.name) + member.packed
    data = os.pread(file.fileno(), most + SLACK, member.offset)
    start = header_length(member, data)
    rest = start + member.packed - len(data)
    if rest > 0:
        data += os.pread(file.fileno(), rest, member.offset + len(data))
    if len(data) < start + member.packed:
        raise ValueError(f"the zip ends {start + member.packed - len(data)} bytes too early")
    return data[start : start + member.packed]


def _unpacked(member: ZipMember, packed: bytes) -> bytes:
    """The file. Raises ``ValueError`` where it is not as long, or another, than the directory states."""
    try:
        # Of a bomb no more than it admits to.
        data = _inflated(packed, member.size + 1) if member.method == zipfile.ZIP_DEFLATED else packed
    except zlib.error as error:
        raise ValueError(f"damaged: {error}") from error
    if len(data) != member.size:
        longer = "longer" if len(data) > member.size else "shorter"
        raise ValueError(f"damaged: {longer} than the {member.size} bytes that its directory states")
    if zlib.crc32(data) != member.checksum:
        raise ValueError("damaged: it has another checksum than its directory states")
    return data


def _inflated(packed: bytes, most: int) -> bytes:
    """At most so many bytes, above 0. What is long comes piece by piece: at once it would lie in memory twice."""
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    piece = inflating.decompress(packed, min(most, PIECE))
    if len(piece) < PIECE:  # nearly every photo
        return piece
    data = io.BytesIO()
    while piece:
        data.write(piece)
        left = most - data.tell()
        piece = inflating.decompress(inflating.unconsumed_tail, min(left, PIECE)) if left else b""
    return data.getvalue()
