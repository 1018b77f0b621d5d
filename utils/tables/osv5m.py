"""The tables of OpenStreetView-5M: ``train.csv`` and ``test.csv``, one street view a row.

Astruc et al., "OpenStreetView-5M: The Many Roads to Global Visual Geolocation", CVPR 2024; the data set is
huggingface.co/datasets/osv5m/osv5m. ``dataset/README.md`` says what is known of its files.
"""

import csv
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
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


def read_areas(path: str | os.PathLike, image_ids: Collection[str]) -> dict[str, tuple[str, ...]]:
    """IMG_ID -> labels of the areas that some photos lie in, by LEVELS; empty where the table has none.

    A photo that the table has not is absent. Raises ``ValueError`` naming the file where it lacks a column.
    """
    columns = tuple(f"unique_{level}" for level in LEVELS)
    try:
        layout = read_layout(path, ("id", *columns))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    wanted = {image_id.removesuffix(".jpg"): image_id for image_id in image_ids}
    return {
        wanted[cells["id"]]: tuple(cells[column] for column in columns)
        for cells in rows_of(path, layout)
        if cells["id"] in wanted
    }
