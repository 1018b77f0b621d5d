"""GeoRanking, the released training data: queries with the gallery photos retrieved for them (parquet).

Columns, lists by reference and best first: ``img_id`` (text), ``gps`` [lat, lon], ``ref_gps`` list of [lat,
lon], ``ref_img_id`` list of text, ``ref_texts`` list of lists of place names; and ``zs_gps``, list of [lat,
lon] of generated guesses, which is a column of this project and may be absent. Reference 0 is the query
itself.
"""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from utils.cells import Coordinate, plain
from utils.files import atomic_path
from utils.geodesy import parse_coordinate

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
    for file in files:
        for number, record in enumerate(_records(file)):
            where = f"{file}: row {number} ({record['img_id']})"
            try:
                rows.append(_row(record, where, problems))
            except ValueError as error:
                problems.append(f"{where}: {error}; row skipped")
    return rows, problems


def _records(file: Path) -> Iterable[dict[str, Any]]:
    with open(file, "rb") as handle:
        try:
            parquet = pq.ParquetFile(handle)
            present = set(parquet.schema_arrow.names)
            missing = [name for name in _SCHEMA.names if name not in present | _OPTIONAL]
            if missing:
                raise ValueError(f"no column {', '.join(missing)}")
            columns = [name for name in _SCHEMA.names if name in present]
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
                yield from batch.to_pylist()
        except (ValueError, OSError, pa.ArrowException) as error:  # pyarrow's do not name the file
            raise ValueError(f"{file}: {error}") from error


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
        # A few thousand names stand in millions of places: interned, each is kept once.
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
