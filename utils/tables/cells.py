"""Rows and cells of the CSV tables, shared by the modules that know what the columns mean.

Cells that hold Python are read as literals and never evaluated; floats are written so that they read back to
the same float64.
"""

import ast
import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from utils.geography.geodesy import Coordinate, parse_coordinate
from utils.jobs.files import atomic_path
from utils.tables.layout import NOT_UTF8, Layout, is_text, parse_number, read_layout


def read_rows(path: str | os.PathLike, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(where, cells by column) of each row; ``where`` names file, row (from 0) and IMG_ID for messages.

    Missing cells at the end of a row are empty; see ``check_row`` for what else may be wrong with it. Raises
    ``ValueError`` naming the file when it lacks one of ``columns``, telling those that it has.
    """
    try:
        layout = read_layout(path, columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for number, cells in enumerate(rows_of(path, layout)):
        name = cells["IMG_ID"].encode(errors="replace").decode()
        yield f"{path}: row {number} ({name})", cells


def rows_of(path: str | os.PathLike, layout: Layout, missing: str | None = "") -> Iterator[dict[str, str]]:
    """The cells of each row by the names that ``layout`` knows; ``missing`` where it has too few."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file, layout.names, restval=missing, delimiter=layout.delimiter)
        yield from islice(rows, 1, None)


def check_row(cells: Mapping[str, str]) -> None:
    """Raise ``ValueError`` for a row with more cells than columns, or with bytes that are no text."""
    if None in cells:  # where csv puts what is beyond the last column
        raise ValueError("more cells than columns: is there a comma in a number, or in a text without quotes?")
    for column, cell in cells.items():
        if not is_text(cell):
            raise ValueError(f"{column} {NOT_UTF8}")


def write_rows(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` with these columns, atomically; a column that a row lacks becomes an empty cell."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def parse_truth(cells: Mapping[str, str]) -> Coordinate:
    """(latitude, longitude) of a row's LAT and LON. Raises ``ValueError`` for a row that cannot be used."""
    check_row(cells)
    if not cells["IMG_ID"]:
        raise ValueError("IMG_ID: empty")
    try:
        return parse_coordinate((parse_number(cells["LAT"]), parse_number(cells["LON"])))
    except ValueError as error:
        raise ValueError(f"LAT, LON: {error}") from None


def parse_list(cells: Mapping[str, str], column: str) -> list:
    """The list in a cell, a Python literal; a missing column or a cell without a value is an empty list.

    ``nan``, ``inf`` and what numpy writes stand for numbers. Raises ``ValueError``, naming the column, for anything
    else.
    """
    if has_no_value(cells.get(column, "")):
        return []
    cell = cells[column].strip()
    try:
        items = read_literal(cell)
    except ValueError:
        raise ValueError(f"{column}: {shortened(cell)} is not a Python literal") from None
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"{column}: {shortened(cell)} is not a list")
    return list(items)


def has_no_value(cell: str) -> bool:
    """Whether a cell is empty, or says that it is, as pandas and Python do."""
    return cell.strip().lower() in ("", "nan", "none")


def read_literal(text: str) -> Any:
    """The Python literal in ``text``, which is never evaluated. Raises ``ValueError`` where it is none."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
        try:
            return ast.literal_eval(tree)
        except ValueError:  # few cells have names, and looking for them takes half the time
            return ast.literal_eval(_Names().visit(tree))
    # What ast raises for malformed, hostile or very deeply nested text.
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{shortened(text)} is not a Python literal") from None


class _Names(ast.NodeTransformer):
    """Turns the names nan and inf, and ``np.float64(45.21)`` as numpy 2 writes it, into the numbers they mean."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if re.fullmatch(r"np\.(float\d+|int\d+|str_)|array", ast.unparse(node.func)) and len(node.args) == 1:
            return self.visit(node.args[0])
        return node


def read_coordinate(value: Any) -> Coordinate:
    """``parse_coordinate`` of a value or of the literal in a text, numbers as ``parse_list`` reads them."""
    return parse_coordinate(read_literal(value) if isinstance(value, str) else value)


def parse_coordinates(cells: Mapping[str, str], column: str, where: str, problems: list[str]) -> list[Coordinate]:
    """The usable coordinates of a list (see ``parse_list``); the others are added to ``problems``."""
    points = []
    for i, item in enumerate(parse_list(cells, column)):
        try:
            points.append(read_coordinate(item))
        except ValueError as error:
            problems.append(f"{where}: {column}[{i}]: {error}; candidate dropped")
    return points


def plain(points: Iterable[Coordinate]) -> list[Coordinate]:
    """Coordinates as Python floats, whose text is a literal that reads back to the same number."""
    return [(float(latitude), float(longitude)) for latitude, longitude in points]


def shortened(text: str, limit: int = 60) -> str:
    """``repr`` of ``text``, cut to ``limit`` characters: for messages."""
    return repr(text if len(text) <= limit else text[:limit] + "...")
