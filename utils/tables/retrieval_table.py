"""The retrieval table: the coordinates of the gallery photos that retrieval found for each query.

Columns IMG_ID, LAT, LON, ``candidate_{i}_gps`` and ``reverse_{i}_gps``, each cell a text ``"[lat, lon]"``. A reader
returns what is usable, and problems that name file, row, IMG_ID and column of what is not.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from utils.geography.geodesy import Coordinate
from utils.tables.cells import parse_list, parse_truth, plain, read_coordinate, read_rows, write_rows
from utils.tables.layout import RELEASED, read_layout


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
    try:
        is_candidate_table = "candidate_gps_lis" in read_layout(path, ["IMG_ID", *RELEASED]).header
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
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
                    found[kind][position] = read_coordinate(item)
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
    found = [
        (match[1], int(match[2]), column, cell)
        for column, cell in cells.items()
        if (match := re.fullmatch(r"(candidate|reverse)_(\d+)_gps", column))
    ]
    if not any(cell for kind, _, _, cell in found if kind == "reverse"):  # nobody has searched for them
        found = [item for item in found if item[0] == "candidate"]
    yield from found


def _found_in_lists(cells: Mapping[str, str]) -> Iterator[tuple[str, int, str, Any]]:
    """The same of a candidate table's row."""
    for kind in ("candidate", "reverse"):
        column = f"{kind}_gps_lis"
        for position, item in enumerate(parse_list(cells, column)):
            yield kind, position, f"{column}[{position}]", item


def write_retrieval_table(path: str | os.PathLike, rows: Sequence[RetrievalRow]) -> None:
    """Write a retrieval table, absent positions as empty cells.

    Where nobody has searched for the least similar photos, there are as many empty columns for them as columns for the
    most similar ones. Raises ``ValueError`` when a row's ``number`` is not its place in ``rows``: the table
    would not fit ``I.npy``.
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
    columns, width = ["IMG_ID", "LAT", "LON"], 0
    for kind, found in kinds.items():
        width = 1 + max((i for positions in found for i in positions), default=width - 1)
        columns += [f"{kind}_{i}_gps" for i in range(width)]
    write_rows(path, columns, lines)
