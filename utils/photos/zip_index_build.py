"""Making the index of zips out of their directories."""

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from utils.jobs.files import atomic_path
from utils.jobs.progress import progress_bar
from utils.photos.index_file import key
from utils.photos.stamp import stamp
from utils.photos.zip_directory import read_directory
from utils.photos.zip_member import ZipMember, member_id

logger = logging.getLogger(__name__)

VERSION = 2
_SCHEMA = f"""
    PRAGMA user_version = {VERSION};
    PRAGMA cache_size = -200000; -- 200 MB while building: names come in any order
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    -- problem: why its directory cannot be read, or NULL.
    CREATE TABLE zips (number INTEGER PRIMARY KEY, name BLOB, stamp TEXT, problem BLOB);
    -- bare: the name without folders; NULL where a member has none, and for what is left out where it is empty.
    -- raw: the name in the zip, NULL where it is the id.
    CREATE TABLE members (id BLOB PRIMARY KEY, bare BLOB, zip INTEGER, offset INTEGER, packed INTEGER, size INTEGER,
        method INTEGER, checksum INTEGER, raw BLOB) WITHOUT ROWID;
    CREATE TABLE left_out (number INTEGER PRIMARY KEY, id BLOB, bare BLOB, zip INTEGER, reason BLOB);
"""
_INDEXES = """
    CREATE INDEX bare_names ON members (bare) WHERE bare IS NOT NULL;
    CREATE INDEX left_out_ids ON left_out (id);
    CREATE INDEX left_out_bare_names ON left_out (bare);
"""


def zip_stamp(path: Path) -> str:
    """The stamp of a zip, and of whatever else is called so."""
    return stamp(path) if path.is_file() else "no file"


def index_zips(zips: Sequence[Path], path: Path) -> None:
    """Index ``zips`` at ``path``, atomically.

    Of members of one id the last counts, as in zips themselves. What is left out stands in the index, and so does a
    zip whose directory cannot be read: it costs only itself.
    """
    with atomic_path(path) as temporary, closing(sqlite3.connect(temporary)) as database:
        try:
            database.executescript(_SCHEMA)
            for number, file in enumerate(progress_bar(zips, desc=f"indexing {path.parent.name}", unit="zip")):
                _add_zip(database, number, file)
            database.executescript(_INDEXES)
            database.commit()
        except sqlite3.Error as error:
            raise OSError(f"{path}: {error}") from error


def _add_zip(database: sqlite3.Connection, number: int, path: Path) -> None:
    made_of, problem = zip_stamp(path), None
    try:
        members, left_out = read_directory(path)
    except ValueError as error:
        members, left_out, problem = [], [], key(str(error).removeprefix(f"{path}: "))
    database.execute("INSERT INTO zips VALUES (?, ?, ?, ?)", (number, key(path.name), made_of, problem))
    for name, reason in left_out:
        _leave_out(database, name, number, reason)
    for image_id, member in members:
        _add(database, image_id, number, member)


def _leave_out(database: sqlite3.Connection, name: str, number: int, reason: str) -> None:
    image_id = member_id(name)
    bare = image_id.rpartition("/")[2]
    row = key(image_id), key(bare) if bare else None, number, key(reason)
    database.execute("INSERT INTO left_out VALUES (NULL, ?, ?, ?, ?)", row)


def _add(database: sqlite3.Connection, image_id: str, number: int, member: ZipMember) -> None:
    """Put a member into the index, and what it leaves out then: an earlier one of the same id."""
    folder, _, bare = image_id.rpartition("/")
    raw = None if member.name == key(image_id) else member.name
    row = (key(image_id), key(bare) if folder else None, number, *member[:-1], raw)
    try:
        database.execute("INSERT INTO members VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    except sqlite3.IntegrityError:
        (earlier,) = database.execute("SELECT zip FROM members WHERE id = ?", row[:1]).fetchone()
        _leave_out(database, image_id, earlier, "the id of several members, of which the index has the last")
        database.execute("REPLACE INTO members VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
