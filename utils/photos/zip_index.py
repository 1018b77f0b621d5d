"""Where each photo of some zips lies: one index file for all of them, made of their directories.

That of ``X.zip`` is ``X.zip.index`` beside it, that of a folder's zips ``zips.index`` in the folder; where the folder
cannot be written it lies in the user's cache. It is made when the zips are first opened, or beforehand by
``python -m tools.index_zips``, and made again when one of them has changed or there are others.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from utils.jobs.files import user_cache
from utils.jobs.locks import making
from utils.photos.index_file import IndexFile, LeftOut, key, text
from utils.photos.zip_index_build import VERSION, index_zips, zip_stamp
from utils.photos.zip_member import ZipMember

logger = logging.getLogger(__name__)

_COLUMNS = "zip, offset, packed, size, method, checksum, raw"


class ZipIndex(Mapping[str, tuple[int, ZipMember]]):
    """Image id -> number of its zip (see ``zips``) and its ``ZipMember``; ids are iterated in order.

    Threads, forked and spawned processes may share an instance. Raises ``ValueError`` naming the file when it is no
    index of zips, later OSError when it cannot be read.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._file = IndexFile(path)
        try:
            (version,) = self._file.execute("PRAGMA user_version").fetchone()
            rows = self._file.execute("SELECT name, stamp, problem FROM zips ORDER BY number").fetchall()
        except OSError as error:
            raise ValueError(f"{self.path} is no index of zips: {error.__cause__}") from error
        if version != VERSION:
            raise ValueError(f"{self.path} is of another version")
        self.zips = [text(name) for name, _, _ in rows]  # names of the files
        self.stamps = [made_of for _, made_of, _ in rows]
        self.problems = [f"{text(name)}: {text(why)}" for name, _, why in rows if why is not None]  # zips not in it

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)

    def __getitem__(self, image_id: str) -> tuple[int, ZipMember]:
        row = self._file.execute(f"SELECT {_COLUMNS} FROM members WHERE id = ?", key(image_id)).fetchone()
        if row is None:
            raise KeyError(image_id)
        number, *place, raw = row
        return number, ZipMember(*place, key(image_id) if raw is None else raw)

    def find(self, name: str) -> str | None:
        """The id that ``name`` stands for: itself, or the only one that is called so below its folders."""
        if name in self:
            return name.removeprefix("./")
        found = self._file.execute("SELECT id FROM members WHERE bare = ? LIMIT 2", key(name)).fetchall()
        return text(found[0][0]) if len(found) == 1 else None

    def left_out(self) -> list[LeftOut]:
        """What the zips have and the index does not, in their order."""
        rows = self._file.execute("SELECT name, zip, reason FROM left_out ORDER BY zip, number")
        return [LeftOut(f"{text(name)} in {self.zips[number]}", text(reason)) for name, number, reason in rows]

    def why_left_out(self, name: str) -> str | None:
        """Why the index has no such id, where a zip has a member of this name, or cannot be read."""
        found = self._file.execute("SELECT zip, reason FROM left_out WHERE name = ?", key(name)).fetchone()
        if found is not None:
            return f"{text(found[1])} ({self.zips[found[0]]})"
        return "; ".join(self.problems) or None

    def __iter__(self) -> Iterator[str]:
        for (name,) in self._file.execute("SELECT id FROM members ORDER BY id"):
            yield text(name)

    def __len__(self) -> int:
        (count,) = self._file.execute("SELECT COUNT(*) FROM members").fetchone()
        return count


def zips_of(path: Path) -> list[Path]:
    """The zips that ``path`` means: itself, or those in a folder, in order of name."""
    return sorted(path.glob("*.zip")) if path.is_dir() else [path]


def open_zip_index(path: Path) -> ZipIndex:
    """The index of a zip, or of the zips in a folder, made now where there is none or one of them has changed.

    What it leaves out is said when it is made. A zip whose directory cannot be read is said every time, and costs only
    itself. Raises ``ValueError``, naming them, where there is no other.
    """
    wanted = [(file.name, zip_stamp(file)) for file in zips_of(path)]
    index = _made(path, wanted)
    problems = [str(path / problem) if path.is_dir() else str(path.parent / problem) for problem in index.problems]
    if len(problems) == len(wanted):
        raise ValueError("\n".join(problems))
    for problem in problems:
        logger.warning("%s", problem)
    return index


def _made(path: Path, wanted: list[tuple[str, str]]) -> ZipIndex:
    digest = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    beside = path / "zips.index" if path.is_dir() else path.with_name(f"{path.name}.index")
    cached = user_cache() / f"{digest[:20]}.index"
    if index := _fresh(beside, wanted) or _fresh(cached, wanted):
        return index
    place = beside
    if not os.access(beside.parent, os.W_OK):
        place = cached
        logger.warning("%s cannot be written: the index of %s goes to %s", beside.parent, path, place)
    with making(place):
        index = _fresh(place, wanted)  # of another process, which has made it meanwhile
        if index is None:
            index_zips(zips_of(path), place)
            index = ZipIndex(place)
            _say_left_out(index.left_out(), path)
    return index


def _fresh(path: Path, wanted: list[tuple[str, str]]) -> ZipIndex | None:
    """The index at ``path``, if it is one of these zips (names and stamps)."""
    if not path.is_file():
        return None
    try:
        index = ZipIndex(path)
    except ValueError:
        return None
    return index if list(zip(index.zips, index.stamps, strict=True)) == wanted else None


def _say_left_out(left_out: list[LeftOut], path: Path) -> None:
    if left_out:
        some = ", ".join(f"{name}: {reason}" for name, reason in left_out[:3]) + ", ..." * (len(left_out) > 3)
        logger.warning("%s: %d members are left out (%s)", path, len(left_out), some)
