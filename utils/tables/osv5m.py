"""The tables of OpenStreetView-5M: ``train.csv`` and ``test.csv``, one street view a row.

Astruc et al., "OpenStreetView-5M: The Many Roads to Global Visual Geolocation", CVPR 2024; the data set is
huggingface.co/datasets/osv5m/osv5m. ``dataset/README.md`` says what is known of its files.
"""

import csv
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import BinaryIO

from utils.geography.osv5m_areas import LEVELS
from utils.jobs.progress import progress_bar
from utils.tables.cells import check_row, rows_of
from utils.tables.imported_photo import ImportedPhoto, credit_of, parse_point, place_texts
from utils.tables.layout import read_layout

REQUIRED = ("id", "latitude", "longitude")
LICENCE = "CC BY-SA 4.0"
LICENCE_URL = "https://creativecommons.org/licenses/by-sa/4.0/"
SOURCE = "https://www.mapillary.com/app/?pKey={id}"  # of the photo with this id


def read_osv5m(path: str | os.PathLike) -> Iterator[ImportedPhoto | ValueError]:
    """The photos of a table in its order, and in place of a bad row the error that names it.

    The file is read as a stream. Raises ``ValueError`` naming the file where it lacks one of REQUIRED.
    """
    try:
        layout = read_layout(path, REQUIRED)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    with (
        open(path, "rb") as file,
        progress_bar(
            total=os.path.getsize(path), unit="B", unit_scale=True, desc=f"reading {os.path.basename(path)}"
        ) as progress,
    ):
        rows = _each(
            csv.DictReader(_lines(file, progress.update), layout.names, delimiter=layout.delimiter, restval="")
        )
        if isinstance(next(rows), csv.Error):  # the header
            raise ValueError(f"{path}: its lines end in carriage returns: save it with line feeds")
        for number, cells in enumerate(rows):
            where = f"{path}: row {number}"
            if isinstance(cells, csv.Error):
                yield ValueError(f"{where}: a carriage return in a cell without quotes")
                continue
            where += f" ({cells['id'].encode(errors='replace').decode()[:40]})"
            try:
                yield _photo(cells, where)
            except ValueError as error:
                yield ValueError(f"{where}: {error}")


def _each(rows: csv.DictReader) -> Iterator[dict[str, str] | csv.Error]:
    """The rows, and in place of one that ``csv`` cannot read its error, after which it goes on with the next line."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _lines(file: BinaryIO, read: Callable[[int], object]) -> Iterator[str]:
    for line in file:
        read(len(line))
        yield line.decode("utf-8", "surrogateescape")


def _photo(cells: Mapping[str, str], where: str) -> ImportedPhoto:
    check_row(cells)
    key = cells["id"]
    if not re.fullmatch(r"[0-9]+", key):
        raise ValueError("id: no number")
    names = {"city": "city", "county": "sub-region", "state": "region", "country": "country"}
    author, author_id = cells.get("creator_username", ""), cells.get("creator_id", "")
    return ImportedPhoto(
        f"{key}.jpg",
        *parse_point(cells["latitude"], cells["longitude"]),
        place_texts(**{name: cells.get(column, "") for name, column in names.items()}),
        cells.get("sequence", ""),
        credit_of(author, author_id, LICENCE, LICENCE_URL, SOURCE.format(id=key)),
        where,
    )


def read_areas(path: str | os.PathLike, image_ids: Collection[str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """IMG_ID -> labels of the areas that some photos lie in, by LEVELS; empty where the table has none.

    A photo that the table has not is absent. Also returns a message for each row of theirs that cannot be used, or
    comes again, and for a table that knows none of them. Raises ``ValueError`` naming the file where it lacks a column.
    """
    columns = tuple(f"unique_{level}" for level in LEVELS)
    try:
        layout = read_layout(path, ("id", *columns))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    wanted = {image_id.removesuffix(".jpg"): image_id for image_id in image_ids}
    areas: dict[str, tuple[str, ...]] = {}
    problems = []
    for number, cells in enumerate(rows_of(path, layout, missing=None)):
        image_id = wanted.get(cells["id"])
        if image_id is None:
            continue
        try:
            if image_id in areas:
                raise ValueError("a photo of this id was there before")
            areas[image_id] = _labels(cells, columns)
        except ValueError as error:
            problems.append(f"{path}: row {number} ({cells['id']}): {error}; left out")
    if not any(map(any, areas.values())):
        problems.append(f"{path}: it has a label for none of the {len(wanted)} queries: is it of another benchmark?")
    return areas, problems


def _labels(cells: Mapping[str, str | None], columns: Sequence[str]) -> tuple[str, ...]:
    """Raises ``ValueError`` where the row is cut short, or too long, or they are no text."""
    if None in cells.values():
        raise ValueError("fewer cells than columns")
    check_row({name: cell for name, cell in cells.items() if name is None or name in columns})
    # That very text is what the metrics of the data set's authors take for none.
    return tuple("" if cells[column] == "nan" else cells[column] for column in columns)
