"""GeoRanking, the released training data: queries with the gallery photos retrieved for them (parquet).

Columns, lists by reference and best first: ``img_id`` (text), ``gps`` [lat, lon], ``ref_gps`` list of [lat,
lon], ``ref_img_id`` list of text, ``ref_texts`` list of lists of place names; and ``zs_gps``, list of [lat,
lon] of generated guesses, which is a column of this project and may be absent. Reference 0 is the query
itself. Lists, texts and numbers may be of any of Arrow's types for them; other columns are ignored.
"""

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from utils.geography.geodesy import Coordinate, is_valid_coordinate, parse_coordinate
from utils.jobs.files import atomic_path
from utils.tables.cells import plain

_GPS = pa.list_(pa.float64())
_SCHEMA = pa.schema(
    {
        "img_id": pa.string(),
        "gps": _GPS,
        "ref_gps": pa.list_(_GPS),
        "ref_img_id": pa.list_(pa.string()),
        "ref_texts": pa.list_(pa.list_(pa.string())),
        "zs_gps": pa.list_(_GPS),
    }
)
_OPTIONAL = {"zs_gps"}
_BATCH_ROWS = 1024
GROUP_ROWS = 8192  # of a row group, the unit that is written at once
_LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType)


@dataclass
class GeoRankingRow:
    """A training query; coordinates are (latitude, longitude) in degrees, the ``ref`` lists run together."""

    img_id: str
    gps: Coordinate  # truth
    ref_gps: list[Coordinate]  # 0 is the query itself
    ref_img_id: list[str]
    ref_texts: list[list[str]]  # place names as the prompt joins them
    zs_gps: list[Coordinate] = field(default_factory=list)


def write_georanking(path: str | os.PathLike, rows: Iterable[GeoRankingRow]) -> int:
    """Write GeoRanking rows as parquet, atomically, and return how many there were.

    No more than ``GROUP_ROWS`` of them are held in memory. Raises ``ValueError`` naming a row with uneven lists.
    """
    records, count = map(_record, rows), 0
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, _SCHEMA) as writer:
        while group := list(islice(records, GROUP_ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema=_SCHEMA))
            count += len(group)
    return count


def _record(row: GeoRankingRow) -> dict[str, Any]:
    _check_lengths(row.ref_gps, row.ref_img_id, row.ref_texts, f"{row.img_id}: ")
    return {
        "img_id": row.img_id,
        "gps": plain([row.gps])[0],
        "ref_gps": plain(row.ref_gps),
        "ref_img_id": row.ref_img_id,
        "ref_texts": row.ref_texts,
        "zs_gps": plain(row.zs_gps),
    }


def read_georanking(path: str | os.PathLike) -> tuple[list[GeoRankingRow], list[str]]:
    """The usable rows of a GeoRanking parquet file, or of all ``*.parquet`` of a folder in order of name.

    Returns:
        Rows, and problems that name file, row, img_id and column. A reference with an unusable coordinate or
        no image id is dropped whole. A row is skipped when its truth or reference 0 (whose place says that it
        is the query itself) is unusable or its lists differ in length.

    Raises:
        ValueError: naming the file when it is no such parquet, or the folder when it holds none.
    """
    files = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [Path(path)]
    if not files:
        raise ValueError(f"{path}: no .parquet file in this folder")
    rows, problems = [], []
    # Millions of lists come into being, none in a cycle: looking for cycles among them takes half the time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        for file in files:
            _read_file(file, rows, problems)
    finally:
        if collecting:
            gc.enable()
    return rows, problems


def _read_file(file: Path, rows: list[GeoRankingRow], problems: list[str]) -> None:
    number = 0
    for batch in _batches(file):
        # Nearly all rows are clean, and read together many times faster.
        for position, row in enumerate(_clean_rows(batch)):
            if row is None:
                (record,) = batch.slice(position, 1).to_pylist()
                where = f"{file}: row {number} ({record['img_id']})"
                try:
                    row = _row(record, where, problems)
                except ValueError as error:
                    problems.append(f"{where}: {error}; row skipped")
            if row is not None:
                rows.append(row)
            number += 1


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    with open(file, "rb") as handle:
        try:
            parquet = pq.ParquetFile(handle)
            schema = parquet.schema_arrow
            missing = [name for name in _SCHEMA.names if name not in {*schema.names, *_OPTIONAL}]
            if missing:
                raise ValueError(f"no column {', '.join(missing)}")
            columns = [name for name in _SCHEMA.names if name in schema.names]
            for name in columns:
                if not _means(schema.field(name).type, _SCHEMA.field(name).type):
                    raise ValueError(f"column {name} is {schema.field(name).type}, not {_SCHEMA.field(name).type}")
            yield from parquet.iter_batches(_BATCH_ROWS, columns=columns)
        except (ValueError, OSError, pa.ArrowException) as error:  # pyarrow's do not name the file
            raise ValueError(f"{file}: {error}") from error


def _means(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether ``found`` is a way to store ``wanted``: lists, numbers and texts come in many."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):  # nothing but missing values
        return True
    if isinstance(wanted, pa.ListType):
        return isinstance(found, _LISTS) and _means(found.value_type, wanted.value_type)
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    return pa.types.is_floating(found) or pa.types.is_integer(found)


def _clean_rows(batch: pa.RecordBatch) -> Iterator[GeoRankingRow | None]:
    """The rows of a batch with nothing to complain about, None in place of the others."""
    images = _filled(batch["img_id"]).to_numpy(zero_copy_only=False)
    points = _points(batch["gps"])
    ref_ends, references = _flat(batch["ref_gps"])
    image_ends, ref_images = _flat(batch["ref_img_id"])
    text_ends, ref_texts = _flat(batch["ref_texts"])
    name_ends, names = _flat(ref_texts)
    guess_ends, guesses = _flat(batch["zs_gps"] if "zs_gps" in batch.schema.names else pa.nulls(len(batch)))
    references, guesses = _points(references), _points(guesses)
    ref_images = _filled(ref_images).to_numpy(zero_copy_only=False)
    counts = np.diff(ref_ends)
    clean = (
        (images != "")
        & is_valid_coordinate(*points.T)
        & (counts > 0)
        & (counts == np.diff(image_ends))
        & (counts == np.diff(text_ends))
        & _all_within(is_valid_coordinate(*references.T), ref_ends)
        & _all_within(ref_images != "", image_ends)
        & _all_within(is_valid_coordinate(*guesses.T), guess_ends)
    )
    points, references, guesses = (list(zip(*part.T.tolist(), strict=True)) for part in (points, references, guesses))
    images, ref_images = images.tolist(), ref_images.tolist()
    # A few thousand names stand in millions of places: interned, each is kept once.
    encoded = _filled(names).dictionary_encode()
    distinct = np.array([sys.intern(name) for name in encoded.dictionary.to_pylist()], dtype=object)
    names = distinct[encoded.indices.to_numpy()].tolist()
    ref_texts = [names[start:end] for start, end in pairwise(name_ends.tolist())]
    spans = zip(*(pairwise(ends.tolist()) for ends in (ref_ends, image_ends, text_ends, guess_ends)), strict=True)
    for i, (reference, image, text, guess) in enumerate(spans):
        if clean[i]:
            yield GeoRankingRow(
                images[i],
                points[i],
                references[slice(*reference)],
                ref_images[slice(*image)],
                ref_texts[slice(*text)],
                guesses[slice(*guess)],
            )
        else:
            yield None


def _flat(lists: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The elements of n lists one after another, and (n + 1,) where each list ends and the next begins."""
    if pa.types.is_null(lists.type):
        return np.zeros(len(lists) + 1, np.int64), pa.nulls(0)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), pc.list_flatten(lists)


def _points(pairs: pa.Array) -> np.ndarray:
    """Lists of two numbers as (n, 2) float64; NaN for whatever else."""
    ends, values = _flat(pairs)
    numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    points = np.full((len(pairs), 2), np.nan)
    whole = np.diff(ends) == 2
    first = ends[:-1][whole]
    points[whole] = np.stack([numbers[first], numbers[first + 1]], axis=1)
    return points


def _filled(texts: pa.Array) -> pa.Array:
    """Texts, empty where missing."""
    return pc.fill_null(texts.cast(pa.string()), "")


def _all_within(good: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Of n lists, whether all their elements are good."""
    bad = np.concatenate([[0], np.cumsum(~good)])[ends]
    return np.diff(bad) == 0


def _row(record: dict[str, Any], where: str, problems: list[str]) -> GeoRankingRow:
    if not record["img_id"]:
        raise ValueError("img_id: empty")
    gps = _coordinate(record["gps"], "gps")
    references, images, texts = (record[column] or [] for column in ("ref_gps", "ref_img_id", "ref_texts"))
    _check_lengths(references, images, texts)
    if not references:
        raise ValueError("no references")
    row = GeoRankingRow(record["img_id"], gps, [], [], [])
    for i, (point, image, names) in enumerate(zip(references, images, texts, strict=True)):
        try:
            coordinate = _coordinate(point, f"ref_gps[{i}]")
            if not image:
                raise ValueError(f"ref_img_id[{i}]: empty")
        except ValueError as error:
            if i == 0:  # training skips reference 0 by its place, which no other may take
                raise
            problems.append(f"{where}: {error}; reference dropped")
            continue
        row.ref_gps.append(coordinate)
        row.ref_img_id.append(image)
        row.ref_texts.append([sys.intern(name or "") for name in names or ()])
    for i, point in enumerate(record.get("zs_gps") or []):
        try:
            row.zs_gps.append(_coordinate(point, f"zs_gps[{i}]"))
        except ValueError as error:
            problems.append(f"{where}: {error}; guess dropped")
    return row


def _coordinate(point: Any, column: str) -> Coordinate:
    try:
        return parse_coordinate(point)
    except ValueError as error:
        raise ValueError(f"{column}: {error}") from None


def _check_lengths(references: list, images: list, texts: list, where: str = "") -> None:
    if not len(references) == len(images) == len(texts):
        lengths = f"ref_gps {len(references)}, ref_img_id {len(images)}, ref_texts {len(texts)}"
        raise ValueError(f"{where}lists of different lengths ({lengths})")
