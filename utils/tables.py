"""The CSV tables of the released system that lead to a candidate table (``utils/candidates.py``).

    metadata table     IMG_ID, LAT, LON and place names, one photo a row
    retrieval table    candidate_{i}_gps, reverse_{i}_gps: coordinates of retrieved photos, "[lat, lon]" each
    generation table   response: answers of an LVLM, a Python list of texts, or None

A reader returns what is usable, and problems that name file, row, IMG_ID and column of what is not.
"""

import csv
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from utils.candidates import TEXT_COLUMNS
from utils.cells import Coordinate, parse_list, parse_truth, plain, read_rows, shortened, write_rows
from utils.files import atomic_path
from utils.geodesy import is_valid_coordinate, parse_coordinate


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
    required = ["IMG_ID", "LAT", "LON"]
    columns = [*required, *TEXT_COLUMNS]
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
        missing = [column for column in required if column not in header]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        metadata = _read_columns(path, [column for column in columns if column in header], rows)
    except (csv.Error, ValueError) as error:  # pyarrow's are ValueErrors that do not name the file
        raise ValueError(f"{path}: {error}") from error
    for column in TEXT_COLUMNS:
        if column not in metadata:
            metadata[column] = ""
    points = np.array([[_float_or_nan(cell) for cell in metadata[column]] for column in ("LAT", "LON")])
    points[:, ~is_valid_coordinate(*points)] = np.nan
    metadata["LAT"], metadata["LON"] = points
    return metadata[columns]


def _read_columns(path: str | os.PathLike, columns: list[str], rows: np.ndarray | None) -> pd.DataFrame:
    """These columns of a CSV file, as text, indexed by row number; all rows, or those of ``rows`` (ascending)."""
    # Not pandas' reader: with `usecols` it cuts rows that are too long without a word.
    reader = pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(use_threads=False),  # only so do its errors tell the row
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


def _float_or_nan(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class RetrievalRow:
    """A row of the retrieval table: the gallery photos that retrieval found for one query.

    ``candidates`` and ``reverse`` map the position in the search result to (latitude, longitude). A position
    whose coordinate is unusable is absent, so position i is column i of ``I.npy`` whatever was dropped.
    """

    number: int  # row of the table, from 0, which is the row of I.npy
    img_id: str
    latitude: float  # truth, degrees
    longitude: float
    candidates: Mapping[int, Coordinate]  # most similar gallery photos, 0 the best
    reverse: Mapping[int, Coordinate] = field(default_factory=dict)  # least similar gallery photos


def read_retrieval_table(path: str | os.PathLike) -> tuple[list[RetrievalRow], list[str]]:
    """The usable rows of a retrieval table, and problems; a row without truth or candidates is skipped.

    A candidate table will do as well: its retrieved candidates are read, nothing else of it.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        is_candidate_table = "candidate_gps_lis" in next(csv.reader(file), [])
    required, parse = (
        ("candidate_gps_lis", _found_in_lists) if is_candidate_table else ("candidate_0_gps", _found_in_cells)
    )
    rows, problems = [], []
    for number, (where, cells) in enumerate(read_rows(path, ["IMG_ID", "LAT", "LON", required])):
        try:
            latitude, longitude = parse_truth(cells)
            found: dict[str, dict[int, Coordinate]] = {"candidate": {}, "reverse": {}}
            for kind, position, column, item in parse(cells):
                try:
                    found[kind][position] = parse_coordinate(item)
                except ValueError as error:
                    problems.append(f"{where}: {column}: {error}; candidate dropped")
            if not found["candidate"]:
                raise ValueError("no usable candidate")
        except ValueError as error:
            problems.append(f"{where}: {error}; row skipped")
            continue
        rows.append(RetrievalRow(number, cells["IMG_ID"], latitude, longitude, *found.values()))
    return rows, problems


def _found_in_cells(cells: Mapping[str, str]) -> Iterator[tuple[str, int, str, Any]]:
    """(candidate or reverse, position, column, coordinate) of a retrieval table's row."""
    for column, cell in cells.items():
        if match := re.fullmatch(r"(candidate|reverse)_(\d+)_gps", column):
            yield match[1], int(match[2]), column, cell


def _found_in_lists(cells: Mapping[str, str]) -> Iterator[tuple[str, int, str, Any]]:
    """The same of a candidate table's row."""
    for kind in ("candidate", "reverse"):
        column = f"{kind}_gps_lis"
        for position, item in enumerate(parse_list(cells, column)):
            yield kind, position, f"{column}[{position}]", item


def write_retrieval_table(path: str | os.PathLike, rows: Sequence[RetrievalRow]) -> None:
    """Write a retrieval table, absent positions as empty cells.

    Raises ``ValueError`` when a row's ``number`` is not its place in ``rows``: the table would not fit
    ``I.npy``.
    """
    kinds = {"candidate": [row.candidates for row in rows], "reverse": [row.reverse for row in rows]}
    lines = []
    for place, row in enumerate(rows):
        if row.number != place:
            raise ValueError(f"{row.img_id}: row {row.number} of I.npy would be row {place} of {path}")
        line = {"IMG_ID": row.img_id, "LAT": float(row.latitude), "LON": float(row.longitude)}
        for kind, found in kinds.items():
            points = plain(found[place].values())
            line |= {f"{kind}_{i}_gps": str(list(point)) for i, point in zip(found[place], points, strict=True)}
        lines.append(line)
    columns = ["IMG_ID", "LAT", "LON"]
    for kind, found in kinds.items():
        width = 1 + max((i for positions in found for i in positions), default=-1)
        columns += [f"{kind}_{i}_gps" for i in range(width)]
    write_rows(path, columns, lines)


@dataclass(frozen=True)
class GenerationRow:
    """A row of the generation table: what an LVLM answered for one query, word for word."""

    img_id: str
    answers: tuple[str, ...]


def read_generation_table(path: str | os.PathLike) -> tuple[list[GenerationRow], list[str]]:
    """All rows of a generation table, and problems.

    A query without an answer (``None``, or a response that cannot be read) keeps its row, with no answers; an
    answer that is no text is dropped. Both are reported.
    """
    rows, problems = [], []
    for where, cells in read_rows(path, ["IMG_ID", "response"]):
        answers = []
        try:
            if cells["response"].strip() in ("", "None"):
                raise ValueError("response: no answer")
            answers = parse_list(cells, "response")
        except ValueError as error:
            problems.append(f"{where}: {error}")
        for i, answer in enumerate(answers):
            if not isinstance(answer, str):
                problems.append(f"{where}: response[{i}]: {shortened(repr(answer))} is no text; answer dropped")
        rows.append(GenerationRow(cells["IMG_ID"], tuple(answer for answer in answers if isinstance(answer, str))))
    return rows, problems


def write_generation_table(
    path: str | os.PathLike, metadata: pd.DataFrame, answers: Mapping[str, Sequence[str]]
) -> None:
    """Write ``metadata`` and a ``response`` column: the ``answers`` by IMG_ID, None for a query without."""
    response = [str(list(answers[name])) if name in answers else "None" for name in metadata["IMG_ID"]]
    with atomic_path(path) as temporary:
        metadata.assign(response=response).to_csv(temporary, index=False)
