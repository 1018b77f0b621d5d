"""The released index of a tar: a pickled dict from image id to the ``tarfile.TarInfo`` of its member.

It costs every process that loads it gigabytes; ``utils/photos/tar_index.py`` turns it into a file that none loads.
"""

import os
import pickle
import tarfile
from typing import NamedTuple

from tqdm.utils import CallbackIOWrapper

from utils.jobs.files import atomic_path
from utils.jobs.progress import progress_bar
from utils.photos.index_file import LeftOut

_MOST_HEADERS = 2**20  # bytes before the data of a member


class Member(NamedTuple):
    """Where a file lies in a tar, and what the tar calls it."""

    offset: int  # of the first byte of the data, from the start of the tar
    size: int  # bytes
    start: int  # of its headers: of the first, where extended ones come before the last
    name: str  # without a leading ./; of a hard link that of its target; empty where it is not known


def is_whole_file(kind: bytes, sparse: bool) -> bool:
    """Whether a member of ``kind`` (a type of ``tarfile``) is a file whose bytes stand in the tar as they are."""
    return kind in tarfile.REGULAR_TYPES and kind != tarfile.GNUTYPE_SPARSE and not sparse


def why_left_out(kind: bytes, sparse: bool, link: str) -> str:
    """Why a member that is no whole file is in no index; ``link`` is what it points to."""
    if sparse or kind == tarfile.GNUTYPE_SPARSE:
        return "a sparse member, whose holes the tar leaves out: pack it without --sparse"
    if kind == tarfile.LNKTYPE:
        return f"a hard link to {link}, which is not in the index"
    return f"a symbolic link to {link}" if kind == tarfile.SYMTYPE else "neither a file nor a folder"


class _PickledTarInfo:
    """Takes the place of ``tarfile.TarInfo`` while an index is read, and keeps what matters.

    Its attributes differ between Python versions; a plain ``TarInfo`` of one may not load in another.
    """

    __slots__ = ("kind", "link", "member", "sparse")

    def __setstate__(self, state: tuple[None, dict]) -> None:
        _, slots = state
        self.member = slots["offset_data"], slots["size"], slots["offset"], slots["name"]
        self.kind, self.link, self.sparse = slots["type"], slots["linkname"], slots["sparse"] is not None
        # The unpickler keeps every object it has made to the end: 20 attributes a member, most of the memory.
        slots.clear()


class _IndexUnpickler(pickle.Unpickler):
    """A pickle is a program: this one can build plain containers and ``TarInfo``, and call nothing else."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) == ("tarfile", "TarInfo"):
            return _PickledTarInfo
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a tar index")


def read_tar_index(path: str | os.PathLike) -> tuple[dict[str, Member], list[LeftOut]]:
    """Image id -> place in the tar, from a pickled ``dict[str, tarfile.TarInfo]`` (the released format).

    Returns also what is left out: entries that are neither files nor hard links to one; folders are not mentioned.
    Raises ``ValueError`` naming the file when it holds anything else; nothing in it is executed.
    """
    size = os.path.getsize(path)
    with (
        open(path, "rb") as file,
        progress_bar(total=size, unit="B", unit_scale=True, desc=f"reading {os.path.basename(path)}") as progress,
    ):
        try:
            return _members(_IndexUnpickler(CallbackIOWrapper(progress.update, file, "read")).load())
        # As with images: malformed bytes lead the unpickler into exceptions of any type.
        except Exception as error:
            raise ValueError(f"{path} is not a tar index: {type(error).__name__}: {error}") from error


def _members(index: dict) -> tuple[dict[str, Member], list[LeftOut]]:
    """Turns what was pickled into an index, in place: a second dict would take as much memory again."""
    others: dict[str, _PickledTarInfo] = {}
    for image_id, info in index.items():
        index[image_id] = _checked(image_id, info.member)
        if not is_whole_file(info.kind, info.sparse):
            others[image_id] = info
    for image_id in others:
        del index[image_id]
    by_name = {member.name: member for member in index.values()} if others else {}
    left_out = []
    for image_id, info in others.items():
        target = by_name.get(info.link.removeprefix("./"))
        if info.kind == tarfile.LNKTYPE and target is not None:
            index[image_id] = target
        elif info.kind != tarfile.DIRTYPE:
            left_out.append(LeftOut(image_id, why_left_out(info.kind, info.sparse, info.link)))
    return index, left_out


def _checked(image_id: object, entry: tuple) -> Member:
    if not isinstance(image_id, str):
        raise TypeError(f"image id {image_id!r} is not a string")
    offset, size, start, name = entry
    if not all(type(number) is int for number in (offset, size, start)):
        raise TypeError(f"{image_id}: offset_data {offset!r}, size {size!r} and offset {start!r} are not whole numbers")
    if not (tarfile.BLOCKSIZE <= offset < 2**62 and 0 <= size < 2**62):
        raise ValueError(f"{image_id}: no member has {size} bytes at byte {offset} of a tar")
    # Who makes such entries by hand may not know where the headers start; then the name may be cut, or another.
    if not tarfile.BLOCKSIZE <= offset - start <= _MOST_HEADERS:
        return Member(offset, size, offset - tarfile.BLOCKSIZE, "")
    return Member(offset, size, start, name.removeprefix("./"))


def write_tar_index(tar_path: str | os.PathLike, index_path: str | os.PathLike) -> None:
    """Write the index of an uncompressed tar in the released format, in one pass over the tar.

    The id of a photo is its member name (without a leading ``./``), or that of a hard link to it. Of members with the
    same name the last one counts, as in tar itself. Raises ``tarfile.ReadError`` when the file is no uncompressed tar.
    """
    with tarfile.open(tar_path, "r:") as tar:
        index = {member.name.removeprefix("./"): member for member in tar if member.isreg() or member.islnk()}
    with atomic_path(index_path) as temporary, open(temporary, "wb") as file:
        pickle.dump(index, file, protocol=4)
