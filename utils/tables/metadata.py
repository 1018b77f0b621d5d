"""The metadata table of a gallery or of query photos: IMG_ID, LAT, LON and place names, one photo a row."""

import csv
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from utils.geography.gazetteer import TEXT_COLUMNS
from utils.geography.geodesy import is_valid_coordinate

REQUIRED = ("IMG_ID", "LAT", "LON")


def read_whole_metadata(path: str | os.PathLike) -> pd.DataFrame:
    """The metadata table as it stands: one row a photo, every column in order, every cell the text in the file.

    Raises ``ValueError`` as ``read_metadata`` does.
    """
    with _naming(path):
        header = _read_header(path)
        # By number: two columns may have one name. The header is then the first row.
        cells = _read_columns(path, [str(number) for number in range(len(header))], numbered=True)
    return cells.iloc[1:].set_axis(header, axis="columns")


def read_metadata(path: str | os.PathLike, rows: np.ndarray | None = None) -> pd.DataFrame:
    """The metadata table of a gallery or of a folder of query photos.

    Args:
        path: the CSV file.
        rows: numbers of the rows to keep, from 0, ascending; the memory needed is theirs, not that of the
            whole file. Rows that the file does not have are absent from the result. None keeps all.

    Returns:
        One row a photo in the order of the file, indexed by row number, as ``I.npy`` counts: IMG_ID (text),
        LAT and LON (float64 degrees, both NaN where they are not a coordinate: see ``metadata_problems``),
        and TEXT_COLUMNS (text, empty where a name or its column is missing). Other columns are left out.

    Raises:
        ValueError: naming the file, and the row that has more or fewer cells than there are columns.
    """
    columns = [*REQUIRED, *TEXT_COLUMNS]
    with _naming(path):
        header = _read_header(path)
        metadata = _read_columns(path, [column for column in columns if column in header], rows)
    for column in TEXT_COLUMNS:
        if column not in metadata:
            metadata[column] = ""
    points = np.array([[_float_or_nan(cell) for cell in metadata[column]] for column in ("LAT", "LON")])
    points[:, ~is_valid_coordinate(*points)] = np.nan
    metadata["LAT"], metadata["LON"] = points
    return metadata[columns]


@contextmanager
def _naming(path: str | os.PathLike) -> Iterator[None]:
    """Let errors of the block name the file: pyarrow's are ValueErrors that do not."""
    try:
        yield
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read_header(path: str | os.PathLike) -> list[str]:
    """The names of all columns. Raises ``ValueError`` where one of REQUIRED is missing or there twice."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    missing = [column for column in REQUIRED if column not in header]
    if missing:
        raise ValueError(f"no column {', '.join(missing)}")
    twice = [column for column in REQUIRED if header.count(column) > 1]
    if twice:
        raise ValueError(f"two columns {', '.join(twice)}")
    return header


def _read_columns(
    path: str | os.PathLike, columns: list[str], rows: np.ndarray | None = None, numbered: bool = False
) -> pd.DataFrame:
    """These columns of a CSV file, as text, indexed by row number; all rows, or those of ``rows`` (ascending).

    ``numbered``: the columns are named by ``columns``, all of them, and the header is a row.
    """
    # Not pandas' reader: with `usecols` it cuts rows that are too long without a word.
    reader = pa_csv.open_csv(
        path,
        # Without threads its errors tell the row.
        read_options=pa_csv.ReadOptions(use_threads=False, column_names=columns if numbered else None),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
        ),
    )
    kept, numbers, start = [], [], 0
    for batch in reader:
        stop = start + batch.num_rows
        if rows is None:
            inside = np.arange(start, stop)
        else:
            inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
            batch = batch.take(pa.array(inside - start))
        kept.append(batch)
        numbers.append(inside)
        start = stop
    metadata = pa.Table.from_batches(kept, reader.schema).to_pandas()
    return metadata.set_index(np.concatenate([*numbers, np.empty(0, dtype=np.int64)]))


def metadata_problems(path: str | os.PathLike, metadata: pd.DataFrame) -> list[str]:
    """A message for each row of ``metadata``, as read from ``path``, that has no usable coordinate."""
    unusable = metadata["IMG_ID"][metadata["LAT"].isna()]
    return [f"{path}: row {row} ({name}): LAT, LON: not a coordinate" for row, name in unusable.items()]


def read_points(paths: Sequence[str | os.PathLike]) -> tuple[np.ndarray | None, list[str]]:
    """Where the photos of some metadata tables lie, (photos, 2) degrees, None without tables; and problems."""
    tables = [read_metadata(path) for path in paths]
    points = [table[["LAT", "LON"]].dropna().to_numpy() for table in tables]
    problems = [line for path, table in zip(paths, tables, strict=True) for line in metadata_problems(path, table)]
    return np.concatenate(points) if points else None, problems


def ids_hash(image_ids: Sequence[str]) -> str:
    """SHA-256 of image ids and their order."""
    return hashlib.sha256("\0".join(image_ids).encode()).hexdigest()


def gallery_hash(path: str | os.PathLike | None) -> str | None:
    """``ids_hash`` of a gallery's metadata table; None without a table, or where there is none."""
    if path is None or not os.path.exists(path):
        return None
    return ids_hash(read_metadata(path)["IMG_ID"].tolist())


def _float_or_nan(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
