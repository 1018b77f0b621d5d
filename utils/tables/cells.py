"""Rows and cells of the CSV tables, shared by the modules that know what the columns mean.

Cells that hold Python are read as literals and never evaluated; floats are written so that they read back to
the same float64.
"""

import ast
import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from utils.geography.geodesy import Coordinate, parse_coordinate
from utils.jobs.files import atomic_path


def read_rows(path: str | os.PathLike, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, cells by column) of each row; ``where`` names file, row (from 0) and IMG_ID for messages.

    Missing cells at the end of a row are empty. Raises ``ValueError`` naming the file when it lacks one of
    ``columns`` or is no CSV file in UTF-8.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        try:
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"no column {', '.join(missing)}")
            for number, cells in enumerate(reader):
                yield f"{path}: row {number} ({cells['IMG_ID']})", cells
        except (csv.Error, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error


def write_rows(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` with these columns, atomically; a column that a row lacks becomes an empty cell."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def parse_truth(cells: Mapping[str, str]) -> Coordinate:
    """(latitude, longitude) of a row's LAT and LON. Raises ``ValueError`` for a row that cannot be used."""
    if None in cells:  # where csv puts what is beyond the last column
        raise ValueError("more cells than columns")
    if not cells["IMG_ID"]:
        raise ValueError("IMG_ID: empty")
    try:
        return parse_coordinate((float(cells["LAT"]), float(cells["LON"])))
    except ValueError as error:
        raise ValueError(f"LAT, LON: {error}") from None


def parse_list(cells: Mapping[str, str], column: str) -> list:
    """The list in a cell, a Python literal; an empty cell or a missing column is an empty list.

    ``nan`` and ``inf`` stand for numbers, as ``repr`` writes them. Raises ``ValueError``, naming the column,
    for anything else.
    """
    cell = cells.get(column, "").strip()
    if not cell:
        return []
    try:
        items = _literal(ast.parse(cell, mode="eval"))
    # What ast raises for malformed, hostile or very deeply nested text.
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{column}: {shortened(cell)} is not a Python literal") from None
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"{column}: {shortened(cell)} is not a list")
    return list(items)


def _literal(tree: ast.Expression) -> Any:
    try:
        return ast.literal_eval(tree)
    except ValueError:  # few cells have nan or inf, and looking for them takes half the time
        return ast.literal_eval(_NonFinite().visit(tree))


class _NonFinite(ast.NodeTransformer):
    """Turns the names nan and inf, which are no literals, into the numbers they mean."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


def parse_coordinates(cells: Mapping[str, str], column: str, where: str, problems: list[str]) -> list[Coordinate]:
    """The usable coordinates of a list (see ``parse_list``); the others are added to ``problems``."""
    points = []
    for i, item in enumerate(parse_list(cells, column)):
        try:
            points.append(parse_coordinate(item))
        except ValueError as error:
            problems.append(f"{where}: {column}[{i}]: {error}; candidate dropped")
    return points


def plain(points: Iterable[Coordinate]) -> list[Coordinate]:
    """Coordinates as Python floats, whose text is a literal that reads back to the same number."""
    return [(float(latitude), float(longitude)) for latitude, longitude in points]


def shortened(text: str, limit: int = 60) -> str:
    """``repr`` of ``text``, cut to ``limit`` characters: for messages."""
    return repr(text if len(text) <= limit else text[:limit] + "...")
