"""WebDataset shards with a photo and a JSON object of one key each: ``KEY.jpg`` and ``KEY.json`` in a tar.

The key is the name up to the first dot behind its folders. No standard says what the object holds; it is read where
names for a field are known (NAMES), in small or capital letters.
"""

import json
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from utils.jobs.progress import progress_bar
from utils.photos.formats import EXTENSIONS
from utils.photos.store import Tar
from utils.photos.tar_index import open_index
from utils.photos.tar_index_build import index_tar
from utils.tables.imported_photo import ImportedPhoto, credit_of, parse_point, place_texts
from utils.tables.layout import LATITUDE, LONGITUDE, is_text

MOST_JSON = 2**20  # bytes of an object
# What a field may be called; the first that is there counts.
NAMES = {
    "latitude": LATITUDE,
    "longitude": LONGITUDE,
    "city": ("city",),
    "county": ("county", "sub-region"),
    "state": ("state", "region"),
    "country": ("country",),
    "sequence": ("sequence", "sequence_id"),
    "author": ("creator_username", "author", "username"),
    "author_id": ("creator_id", "author_id", "owner"),
    "licence": ("licence", "license"),
    "licence_url": ("licence_url", "license_url"),
    "source": ("source", "url"),
}


def index_shards(paths: Sequence[Path]) -> list[str]:
    """Make the indexes of the shards that have none; returns where a damaged one could not be read on."""
    return [problem for path in paths if not Path(f"{path}.index").is_file() for problem in index_tar(path)]


def read_webdataset(
    paths: Sequence[str | os.PathLike], licence: str = "", source: str = ""
) -> Iterator[ImportedPhoto | ValueError]:
    """The photos of indexed shards, by key within each, and in place of a bad one the error that names it.

    A photo without JSON object, and an object without photo, are bad. ``licence`` and ``source`` are those of
    photos whose object names none; ``{id}`` in ``source`` stands for the photo's key without its folders.
    """
    for path in progress_bar(paths, desc="reading JSON", unit="shard"):
        tar = Tar(path, open_index(path))
        for key, names in groupby(tar.index, _key):
            where = f"{path}: {key}"
            try:
                yield _photo(tar, key, list(names), licence, source, where)
            except (ValueError, OSError) as error:
                yield ValueError(f"{where}: {error}")


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _photo(tar: Tar, key: str, names: Sequence[str], licence: str, source: str, where: str) -> ImportedPhoto:
    photo = next((key + extension for extension in EXTENSIONS if key + extension in names), None)
    if photo is None:
        raise ValueError(f"no photo among {', '.join(names[:5])}")
    if f"{key}.json" not in names:
        raise ValueError(f"no {key}.json")
    fields = _fields(tar, f"{key}.json")
    told = {"licence": licence, "source": source.replace("{id}", key.rpartition("/")[2])}
    fields |= {name: fields[name] or text for name, text in told.items()}
    for name, text in (fields | {"name": photo}).items():
        if not is_text(text):  # such as half of a surrogate pair, which JSON can spell out
            raise ValueError(f"{name}: {text[:60]!a} has what UTF-8 cannot write")
    places = {name: fields[name] for name in ("city", "county", "state", "country")}
    credit = credit_of(**{name: fields[name] for name in ("author", "author_id", "licence", "licence_url", "source")})
    point = parse_point(fields["latitude"], fields["longitude"])
    return ImportedPhoto(photo, *point, place_texts(**places), fields["sequence"], credit, where)


def _fields(tar: Tar, name: str) -> dict[str, str]:
    """The fields of NAMES in a JSON object, as text; empty where it has none, or null."""
    if tar.index[name].size > MOST_JSON:
        raise ValueError(f"{name}: more than {MOST_JSON:,} bytes")
    try:
        found = json.loads(tar.read(name))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name}: no JSON object")
    values = {key.lower(): str(value) for key, value in found.items() if isinstance(value, str | int | float)}
    return {name: next((values[known] for known in called if known in values), "") for name, called in NAMES.items()}
