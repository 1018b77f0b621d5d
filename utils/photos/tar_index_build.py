"""Making the index of a tar: by a pass over the tar, which may be interrupted, or out of the released pickle."""

import os
import sqlite3
import tarfile
import time
from contextlib import closing
from pathlib import Path

from utils.jobs.files import atomic_path
from utils.jobs.locks import making
from utils.jobs.progress import progress_bar
from utils.photos.index_file import key, text
from utils.photos.stamp import stamp
from utils.photos.tar_index_pickle import Member, is_whole_file, read_tar_index, why_left_out

VERSION = 1  # of the format; 0 had neither names nor hard links
_SAVE_SECONDS = 10  # how much of a pass over a tar a kill may cost
_SCHEMA = """
    PRAGMA cache_size = -200000; -- 200 MB while building: names come in any order
    PRAGMA journal_mode = {journal};
    -- headers: bytes before the data. name: of the member in the tar; NULL where it is the id, empty where unknown.
    CREATE TABLE IF NOT EXISTS members (id BLOB PRIMARY KEY, offset INTEGER, size INTEGER, headers INTEGER, name BLOB)
        WITHOUT ROWID;
    -- number: of the header in the tar (bytes), or of the entry in the pickle.
    CREATE TABLE IF NOT EXISTS left_out (number INTEGER PRIMARY KEY, name BLOB, reason BLOB);
    CREATE INDEX IF NOT EXISTS left_out_name ON left_out (name);
    -- tar_size: bytes. pickle: size and time of the pickle the index was made of, or NULL. strip: folders left out of
    -- member names. position: where in the tar a pass goes on. count: of the members, NULL until all are in.
    CREATE TABLE IF NOT EXISTS about (tar_size INTEGER, pickle TEXT, strip INTEGER, position INTEGER, count INTEGER);
"""
_INSERT = "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)"
_LEAVE_OUT = "INSERT OR REPLACE INTO left_out VALUES (?, ?, ?)"


def _row(image_id: str, member: Member) -> tuple[bytes, int, int, int, bytes | None]:
    name = None if key(member.name) == key(image_id) else key(member.name)
    return key(image_id), member.offset, member.size, member.offset - member.start, name


def index_tar(tar_path: str | os.PathLike, path: str | os.PathLike | None = None, strip: int = 0) -> list[str]:
    """Index an uncompressed tar in one pass; returns problems: where a damaged tar could not be read on.

    Ids are member names without a leading ``./`` and without their first ``strip`` folders, as far as they have so
    many; of equal ones the last counts, as in tar itself. A hard link is the file that it is a link to. What is left
    out stands in the index (``TarIndex.left_out``); folders are not mentioned. The pass writes into a hidden
    ``.partial`` file beside ``path`` (default: ``X.tar.index``) and renames it when all is read; interrupted, it goes
    on from there when called again. Raises ValueError when the file is no uncompressed tar.
    """
    tar_path = Path(tar_path)
    path = Path(path or f"{tar_path}.index")
    partial = path.with_name(f".{path.name}.partial")
    size = tar_path.stat().st_size
    with making(path), open(tar_path, "rb") as file:
        with closing(_create(partial, "DELETE", size, strip=strip)) as database:
            (start,) = database.execute("SELECT position FROM about").fetchone()
            file.seek(start)
            try:
                tar = tarfile.TarFile(fileobj=file, encoding="utf-8")
            except tarfile.ReadError as error:
                database.close()
                partial.unlink()
                raise ValueError(f"{tar_path} is no uncompressed tar: {error}") from error
            end = _read_members(tar, database, start, size, strip)
            file.seek(end)
            rest = file.read(2**20)
            _complete(database)
        os.replace(partial, path)
    # A whole tar ends in zeros. What else may follow is damage, or another tar put behind it by other means than tar.
    if rest.strip(b"\0") or end > size:
        return [f"{tar_path}: damaged at byte {end} of {size}; what follows is not in the index"]
    return []


def _read_members(tar: tarfile.TarFile, database: sqlite3.Connection, position: int, size: int, strip: int) -> int:
    """Add the members from ``position`` on; returns where the last one ends."""

    def save() -> None:
        database.execute("UPDATE about SET position = ?", (position,))
        database.commit()

    saved = time.monotonic()
    label = f"indexing {os.path.basename(tar.fileobj.name)}"
    with progress_bar(total=size, initial=position, unit="B", unit_scale=True, desc=label) as progress:
        try:
            while (member := _next_of(tar)) is not None:
                tar.members.clear()  # tarfile would keep them all
                if not member.isdir():
                    _add(database, member, strip)
                progress.update(tar.offset - position)
                position = tar.offset
                if time.monotonic() - saved > _SAVE_SECONDS:
                    save()
                    saved = time.monotonic()
        finally:
            save()
    return position


def _next_of(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member; None at the end and where the tar is damaged, which the caller can tell apart."""
    try:
        return tar.next()
    except (tarfile.ReadError, ValueError):
        return None


def _add(database: sqlite3.Connection, member: tarfile.TarInfo, strip: int) -> None:
    """Put a member into the index, or what it leaves out: the member itself, or an earlier one of the same id."""
    sparse = member.sparse is not None
    if is_whole_file(member.type, sparse):
        found = Member(member.offset_data, member.size, member.offset, member.name)
    elif member.islnk():
        found = _find(database, member.linkname, strip)
    else:
        found = None
    if found is None:
        reason = why_left_out(member.type, sparse, member.linkname)
        database.execute(_LEAVE_OUT, (member.offset, key(member.name), key(reason)))
        return
    image_id = _stripped(member.name, strip)
    row = database.execute("SELECT offset FROM members WHERE id = ?", (key(image_id),)).fetchone()
    if row not in (None, (found.offset,)):
        reason = f"the id of several members, of which the index has {member.name} at byte {member.offset}"
        database.execute(_LEAVE_OUT, (member.offset, key(image_id), key(reason)))
    database.execute(_INSERT, _row(image_id, found))


def _stripped(name: str, strip: int) -> str:
    parts = name.removeprefix("./").split("/")
    return "/".join(parts[min(strip, len(parts) - 1) :])


def _find(database: sqlite3.Connection, name: str, strip: int) -> Member | None:
    """The member that a hard link to ``name`` means, None where the index has none of this name."""
    image_id = key(_stripped(name, strip))
    statement = "SELECT offset, size, headers, name FROM members WHERE id = ?"
    row = database.execute(statement, (image_id,)).fetchone()
    if row is None:
        return None
    offset, size, headers, member_name = row
    found = Member(offset, size, offset - headers, text(image_id if member_name is None else member_name))
    # Without its first folders another member may have the same id.
    return None if strip and key(found.name) != key(name) else found


def index_pickle(
    pickle_path: str | os.PathLike, tar_path: str | os.PathLike, path: str | os.PathLike | None = None
) -> None:
    """Turn the released pickle into an index at ``path`` (default: ``tar_index.pkl.index``), atomically.

    Raises ValueError when the pickle is anything else; nothing in it is executed.
    """
    made_of = stamp(pickle_path)
    index, left_out = read_tar_index(pickle_path)
    with (
        atomic_path(path or f"{pickle_path}.index") as temporary,
        closing(_create(temporary, "OFF", os.path.getsize(tar_path), made_of)) as database,
    ):
        # In order, a B-tree grows at its end only: faster, and every page full.
        database.executemany(_INSERT, (_row(image_id, index[image_id]) for image_id in sorted(index)))
        database.executemany(
            _LEAVE_OUT, ((number, key(name), key(reason)) for number, (name, reason) in enumerate(left_out))
        )
        _complete(database)


def _create(path: Path, journal: str, tar_size: int, pickle: str | None = None, strip: int = 0) -> sqlite3.Connection:
    """An index to be filled; one that is there already is gone on with if it is of the same tar and names."""
    database = sqlite3.connect(path)
    try:
        if database.execute("PRAGMA user_version").fetchone() != (VERSION,):
            database.executescript(
                f"DROP TABLE IF EXISTS members; DROP TABLE IF EXISTS about; PRAGMA user_version = {VERSION}"
            )
        database.executescript(_SCHEMA.format(journal=journal))
        if database.execute("SELECT tar_size, strip FROM about").fetchone() != (tar_size, strip):
            for table in ("members", "left_out", "about"):
                database.execute(f"DELETE FROM {table}")
            database.execute("INSERT INTO about VALUES (?, ?, ?, 0, NULL)", (tar_size, pickle, strip))
            database.commit()
    except sqlite3.Error as error:
        database.close()
        raise OSError(f"{path}: {error}") from error
    return database


def _complete(database: sqlite3.Connection) -> None:
    database.execute("UPDATE about SET count = (SELECT COUNT(*) FROM members)")
    database.commit()
