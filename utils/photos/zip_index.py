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
from typing import NamedTuple

from utils.jobs.files import user_cache
from utils.jobs.locks import making
from utils.photos.index_file import IndexFile, LeftOut, key, text
from utils.photos.printable import printable
from utils.photos.zip_index_build import VERSION, index_zips, zip_stamp
from utils.photos.zip_member import ZipMember, member_id

logger = logging.getLogger(__name__)

_ZIPS = "JOIN zips ON zips.number = zip"
_MEMBER = f"SELECT zips.name, stamp, offset, packed, size, method, checksum, raw FROM members {_ZIPS} WHERE id = ?"
_LEFT_OUT = f"SELECT id, zips.name, reason FROM left_out {_ZIPS}"
_CALLED = """
    SELECT * FROM (SELECT id FROM members WHERE bare = ?1 LIMIT 2)
    UNION SELECT * FROM (SELECT DISTINCT id FROM left_out WHERE bare = ?1 OR id = ?1 LIMIT 2)
"""


class Unclear(LookupError):
    """A name that several members have below their folders, or one that is left out."""


class Found(NamedTuple):
    """A member and its zip."""

    zip: str  # its file's name
    stamp: str  # of that file when the index was made
    member: ZipMember


class ZipIndex(Mapping[str, Found]):
    """Image id -> where its member lies; ids are iterated in order.

    Threads, forked and spawned processes may share an instance. Where the file is made anew, those that open it then
    find what it says now. Raises ``ValueError`` naming the file when it is no index of zips, later OSError when it
    cannot be read.
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
        self.zips = [(text(name), made_of) for name, made_of, _ in rows]  # names and stamps of the files
        # Of those that are not in it.
        self.problems = [printable(f"{text(name)}: {text(why)}") for name, _, why in rows if why is not None]

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)

    def __getitem__(self, image_id: str) -> Found:
        row = self._file.execute(_MEMBER, _key(image_id)).fetchone()
        if row is None:
            raise KeyError(image_id)
        name, made_of, *place, raw = row
        return Found(text(name), made_of, ZipMember(*place, _key(image_id) if raw is None else raw))

    def find(self, name: str) -> str | None:
        """The id that ``name`` stands for: itself, or the only one that is called so below its folders.

        Raises ``Unclear`` where there are several, or it is that of a member that is left out.
        """
        if name in self:
            return member_id(name)
        called = self._called(name)
        if len(called) == 1 and called[0] in self:
            return called[0]
        if called:
            raise Unclear(name)
        return None

    def _called(self, name: str) -> list[str]:
        """Ids of this name below their folders, those of what is left out too; up to two of each."""
        return [text(found) for (found,) in self._file.execute(_CALLED, _key(name))]

    def left_out(self) -> list[LeftOut]:
        """What the zips have and the index does not, in their order."""
        rows = self._file.execute(f"{_LEFT_OUT} ORDER BY zip, left_out.number")
        return [LeftOut(f"{text(name)} in {text(file)}", text(reason)) for name, file, reason in rows]

    def why_left_out(self, name: str) -> str | None:
        """Why the index has no such id, where a zip has a member of this name, or cannot be read."""
        called = self._called(name)
        for image_id in (name, *called) if len(called) < 2 else (name,):
            row = self._file.execute(f"{_LEFT_OUT} WHERE id = ?", _key(image_id)).fetchone()
            if row is not None:
                return f"{text(row[2])} ({text(row[1])})"
        if called:
            return f"several members are called so: {', '.join(called[:2])}"
        return "; ".join(self.problems) or None

    def __iter__(self) -> Iterator[str]:
        for (name,) in self._file.execute("SELECT id FROM members ORDER BY id"):
            yield text(name)

    def __len__(self) -> int:
        (count,) = self._file.execute("SELECT COUNT(*) FROM members").fetchone()
        return count


def _key(name: str) -> bytes:
    return key(member_id(name))


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
    return index if index.zips == wanted else None


def _say_left_out(left_out: list[LeftOut], path: Path) -> None:
    if left_out:
        some = ", ".join(map(str, left_out[:3])) + ", ..." * (len(left_out) > 3)
        logger.warning("%s: %d members are left out (%s)", path, len(left_out), some)
