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


class Member(NamedTuple):
    """Where the bytes of a tar member lie."""

    offset: int  # of the first byte of the data, from the start of the tar
    size: int  # bytes


class _PickledTarInfo:
    """Takes the place of ``tarfile.TarInfo`` while an index is read, and keeps the two numbers that matter.

    Its attributes differ between Python versions; a plain ``TarInfo`` of one may not load in another.
    """

    __slots__ = ("member",)

    def __setstate__(self, state: tuple[None, dict]) -> None:
        _, slots = state
        self.member = Member(slots["offset_data"], slots["size"])
        # The unpickler keeps every object it has made to the end: 20 attributes a member, most of the memory.
        slots.clear()


class _IndexUnpickler(pickle.Unpickler):
    """A pickle is a program: this one can build plain containers and ``TarInfo``, and call nothing else."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) == ("tarfile", "TarInfo"):
            return _PickledTarInfo
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a tar index")


def read_tar_index(path: str | os.PathLike) -> dict[str, Member]:
    """Image id -> place in the tar, from a pickled ``dict[str, tarfile.TarInfo]`` (the released format).

    Raises ``ValueError`` naming the file when it holds anything else; nothing in it is executed.
    """
    size = os.path.getsize(path)
    with (
        open(path, "rb") as file,
        progress_bar(total=size, unit="B", unit_scale=True, desc=f"reading {os.path.basename(path)}") as progress,
    ):
        try:
            index = _IndexUnpickler(CallbackIOWrapper(progress.update, file, "read")).load()
            for image_id, info in index.items():
                index[_checked_id(image_id)] = info.member
            return index
        # As with images: malformed bytes lead the unpickler into exceptions of any type.
        except Exception as error:
            raise ValueError(f"{path} is not a tar index: {type(error).__name__}: {error}") from error


def _checked_id(image_id: object) -> str:
    if not isinstance(image_id, str):
        raise TypeError(f"image id {image_id!r} is not a string")
    return image_id


def write_tar_index(tar_path: str | os.PathLike, index_path: str | os.PathLike) -> None:
    """Write the index of an uncompressed tar in the released format, in one pass over the tar.

    The id of a photo is its member name (without a leading ``./``). Of members with the same name the last
    one counts, as in tar itself. Raises ``tarfile.ReadError`` when the file is no uncompressed tar.
    """
    with tarfile.open(tar_path, "r:") as tar:
        index = {member.name.removeprefix("./"): member for member in tar if member.isreg()}
    with atomic_path(index_path) as temporary, open(temporary, "wb") as file:
        pickle.dump(index, file, protocol=4)
