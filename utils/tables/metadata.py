"""The metadata table of a gallery or of query photos: IMG_ID, LAT, LON and place names, one photo a row."""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from utils.geography.gazetteer import TEXT_COLUMNS
from utils.geography.geodesy import is_valid_coordinate
from utils.tables.layout import has_decimal_commas, parse_number, read_layout

REQUIRED = ("IMG_ID", "LAT", "LON")
BLOCK, LARGEST_BLOCK = 2**20, 2**31 - 1  # bytes of a file that are read at a time; a row lies in one block, or in two

NO_ROWS = "it has a header, but no rows"


def read_whole_metadata(path: str | os.PathLike) -> pd.DataFrame:
    """The metadata table as it stands: one row a photo, every column in order, every cell the text in the file.

    Raises ``ValueError`` as ``read_metadata`` does.
    """
    with _naming(path):
        layout = read_layout(path, REQUIRED)
        # By number: two columns may have one name. The header is then the first row.
        numbers = {str(number): str(number) for number in range(len(layout.header))}
        cells = _read_columns(path, layout.delimiter, numbers, numbered=True)
    return cells.iloc[1:].set_axis(list(layout.header), axis="columns")


def read_column(path: str | os.PathLike, column: str) -> pd.Series:
    """A further column of a metadata table, text, one cell a photo. Raises ``ValueError`` as ``read_metadata`` does."""
    with _naming(path):
        layout = read_layout(path, (*REQUIRED, column))
        return _read_columns(path, layout.delimiter, {column: column})[column]


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
        ValueError: naming the file and the columns it has where one of REQUIRED is missing or may be two of them, or
            the row that has more or fewer cells than there are columns, bytes that are no text, or a quote that is not
            closed; or where there is no row.
    """
    columns = [*REQUIRED, *TEXT_COLUMNS]
    with _naming(path):
        layout = read_layout(path, REQUIRED, TEXT_COLUMNS)
        metadata = _read_columns(path, layout.delimiter, layout.columns, rows)
    for column in TEXT_COLUMNS:
        if column not in metadata:
            metadata[column] = ""
    comma = has_decimal_commas(layout.delimiter, chain(metadata["LAT"], metadata["LON"]))
    points = np.array([[_number_or_nan(cell, comma) for cell in metadata[column]] for column in ("LAT", "LON")])
    points[:, ~is_valid_coordinate(*points)] = np.nan
    metadata["LAT"], metadata["LON"] = points
    return metadata[columns]


@contextmanager
def _naming(path: str | os.PathLike) -> Iterator[None]:
    """Let errors of the block name the file: pyarrow's are ValueErrors that do not."""
    try:
        yield
    except ValueError as error:
        what_to_do = ": save the file as UTF-8" if "UTF8" in str(error) else ""
        raise ValueError(f"{path}: {error}{what_to_do}") from error


def _read_columns(
    path: str | os.PathLike,
    delimiter: str,
    columns: Mapping[str, str],
    rows: np.ndarray | None = None,
    numbered: bool = False,
    block: int = BLOCK,
) -> pd.DataFrame:
    """Columns of a CSV file, as text, indexed by row number; all rows, or those of ``rows`` (ascending).

    ``columns``: name in the result -> name in the file. ``numbered``: they name all columns of the file, whose header
    is a row. ``block``: bytes that are read at a time, at most 2 GiB; rows that are longer are read in larger ones.
    """
    try:
        return _read_in_blocks(path, delimiter, columns, rows, numbered, block)
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):  # a header without a line end
            raise ValueError(NO_ROWS) from None
        if "straddling object" not in str(error) or block >= LARGEST_BLOCK:
            raise
    return _read_columns(path, delimiter, columns, rows, numbered, min(16 * block, LARGEST_BLOCK))


def _read_in_blocks(
    path: str | os.PathLike,
    delimiter: str,
    columns: Mapping[str, str],
    rows: np.ndarray | None,
    numbered: bool,
    block: int,
) -> pd.DataFrame:
    # Not pandas' reader: with `usecols` it cuts rows that are too long without a word.
    reader = pa_csv.open_csv(
        path,
        # Without threads its errors tell the row.
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=block, column_names=list(columns) if numbered else None
        ),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(columns.values()), column_types=dict.fromkeys(columns.values(), pa.string())
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
    if start <= numbered:
        raise ValueError(NO_ROWS)
    metadata = pa.Table.from_batches(kept, reader.schema).to_pandas().set_axis(list(columns), axis="columns")
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


def _number_or_nan(cell: str, decimal_comma: bool) -> float:
    try:
        return parse_number(cell, decimal_comma)
    except ValueError:
        return math.nan
