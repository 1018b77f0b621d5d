"""Where each photo of a tar lies: an index file that any number of processes share and none loads.

The index of ``X.tar`` is ``X.tar.index`` beside it, that of a pickle ``tar_index.pkl.index`` beside the pickle;
``python -m tools.index_tar`` makes it beforehand. It is an SQLite file (``index_file.py``), a B-tree from id to the
place of a member: interrupted passes and exact comparison of ids need no code of ours. ``docs/data.md`` has figures.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from utils.jobs.files import user_cache
from utils.jobs.locks import making
from utils.photos.index_file import IndexFile, LeftOut, key, text
from utils.photos.stamp import stamp
from utils.photos.tar_index_build import VERSION, index_pickle
from utils.photos.tar_index_pickle import Member

logger = logging.getLogger(__name__)

RELEASED_NAME = "tar_index.pkl"


class TarIndex(Mapping[str, Member]):
    """Image id -> ``Member`` of an index file; ids are iterated in order.

    Threads, forked and spawned processes may share an instance. Raises ``ValueError`` naming the file when it
    is no complete index, later OSError when it cannot be read.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._file = IndexFile(path)
        try:
            (version,) = self._file.execute("PRAGMA user_version").fetchone()
            about = self._file.execute("SELECT tar_size, pickle, count FROM about").fetchone()
        except OSError as error:
            raise ValueError(f"{self.path} is not a tar index: {error.__cause__}") from error
        if about is None or about[2] is None:
            raise ValueError(f"{self.path} is not a complete tar index")
        if version != VERSION:
            raise ValueError(f"{self.path} is of another version: make it anew with `python -m tools.index_tar`")
        self.tar_size, self.pickle, self._count = about

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)

    def __getitem__(self, image_id: str) -> Member:
        statement = "SELECT offset, size, headers, name FROM members WHERE id = ?"
        found = self._file.execute(statement, key(image_id)).fetchone()
        if found is None:
            raise KeyError(image_id)
        offset, size, headers, name = found
        return Member(offset, size, offset - headers, text(key(image_id) if name is None else name))

    def left_out(self) -> list[LeftOut]:
        """What the tar has and the index does not, in the order of the tar."""
        rows = self._file.execute("SELECT name, reason FROM left_out")
        return [LeftOut(text(name), text(reason)) for name, reason in rows]

    def why_left_out(self, name: str) -> str | None:
        """Why the index has no such id, where the tar has a member of this name."""
        found = self._file.execute("SELECT reason FROM left_out WHERE name = ?", key(name)).fetchone()
        return found and text(found[0])

    def __iter__(self) -> Iterator[str]:
        for (name,) in self._file.execute("SELECT id FROM members ORDER BY id"):
            yield text(name)

    def __len__(self) -> int:
        return self._count


def open_index(tar_path: str | os.PathLike, given: str | os.PathLike | None = None) -> TarIndex:
    """The index of a tar; a released pickle is converted on first use.

    Args:
        tar_path: an uncompressed tar.
        given: an index or a released pickle. Without it: ``X.tar.index`` beside the tar, else ``tar_index.pkl``
            in its folder if there is no other tar in it that the pickle could mean.

    Raises:
        FileNotFoundError: when there is none, with the command that makes one.
        ValueError: when it cannot be read, or the tar has changed in size since.
    """
    tar_path = Path(tar_path)
    command = f"`python -m tools.index_tar {tar_path}`"
    if given is None:
        released = tar_path.with_name(RELEASED_NAME)
        candidates = [Path(f"{tar_path}.index")]
        if len(list(tar_path.parent.glob("*.tar"))) == 1:
            candidates.append(released)
        given = next((path for path in candidates if path.is_file()), None)
        if given is None:
            names = " or ".join(path.name for path in candidates)
            raise FileNotFoundError(f"{tar_path} has no {names} beside it; {command} makes an index")
    with open(given, "rb") as file:
        is_ours = file.read(15) == b"SQLite format 3"
    if not is_ours:
        return _converted(tar_path, Path(given))
    index = TarIndex(given)
    size = tar_path.stat().st_size
    if index.tar_size != size:
        raise ValueError(
            f"{given} is out of date: {tar_path} had {index.tar_size} bytes and has {size}; {command} makes it anew"
        )
    return index


def _converted(tar_path: Path, pickle_path: Path) -> TarIndex:
    """The index made of a pickle: beside it, or in the user's cache where that folder cannot be written."""
    digest = hashlib.sha256(str(pickle_path.resolve()).encode()).hexdigest()
    beside, cached = Path(f"{pickle_path}.index"), user_cache() / f"{digest[:20]}.index"
    wanted = (tar_path.stat().st_size, stamp(pickle_path))

    def fresh(path: Path) -> TarIndex | None:
        if not path.is_file():
            return None
        try:
            index = TarIndex(path)
        except ValueError:
            return None
        return index if (index.tar_size, index.pickle) == wanted else None

    if index := fresh(beside) or fresh(cached):
        return index
    path = beside
    if not os.access(pickle_path.parent, os.W_OK):
        path = cached
        logger.warning("%s cannot be written: the index of %s goes to %s", pickle_path.parent, pickle_path, path)
    with making(path):
        if fresh(path) is None:  # no other process has made it meanwhile
            index_pickle(pickle_path, tar_path, path)
    index = TarIndex(path)
    if left_out := index.left_out():
        some = ", ".join(map(str, left_out[:3]))
        logger.warning(
            "%s: %d entries are left out (%s%s)", pickle_path, len(left_out), some, ", ..." * (len(left_out) > 3)
        )
    return index
