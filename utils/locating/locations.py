"""Where the photos of a folder were taken: a log that grows photo by photo, a table and a map (GeoJSON) made of it."""

import csv
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from utils.jobs.files import atomic_path
from utils.jobs.json_lines import JsonLines, OtherSettings
from utils.jobs.progress import progress_bar
from utils.photos.formats import photo_names

logger = logging.getLogger(__name__)

CONFIDENCE_KM = 200


@dataclass(frozen=True)
class Location:
    """A row of the table."""

    file: str  # relative to the folder
    latitude: float | None = None  # degrees; None where the photo could not be ranked
    longitude: float | None = None
    place: str = ""
    confidence: float | None = None  # probability (0 to 1) that the truth lies within CONFIDENCE_KM; None: unknown
    answered: bool | None = None  # whether that is as sure as was demanded
    problem: str = ""
    # What a report tells of the photo, ready for JSON; in the log alone. None: nobody asked for one.
    shown: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def cells(self) -> dict[str, Any]:
        """By column."""
        return {name: getattr(self, name) for name in COLUMNS}

    @property
    def record(self) -> dict[str, Any]:
        """Its line in the log."""
        return self.cells if self.shown is None else self.cells | {"shown": self.shown}


COLUMNS = [column.name for column in fields(Location) if column.name != "shown"]
NUMBERS = ("latitude", "longitude", "confidence")


def read_locations(path: str | os.PathLike) -> list[Location]:
    """The rows of a table.

    Raises ``ValueError`` naming the file when it is another table.
    """
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path} has other columns than {', '.join(COLUMNS)}: write to another file")
        return [
            Location(
                **cells
                | {name: float(cells[name]) if cells[name] else None for name in NUMBERS}
                | {"answered": {"True": True, "False": False}.get(cells["answered"])}
            )
            for cells in reader
        ]


def locate_photos(
    folder: Path, table: Path, locate: Callable[[list[str]], Iterable[Location]], settings: Mapping[str, object]
) -> list[Location]:
    """``locate`` the photos of a folder and its subfolders into ``table`` (CSV) and a GeoJSON file beside it.

    ``locate`` takes their paths relative to the folder and has a row for each, as it is done.

    Rows go into a log beside the table, ``TABLE.csv.jsonl``, each when its photo is done, so a killed process loses
    none. Both files are written from them in the end, also when ``locate`` is interrupted. Photos that have a place
    in the log already are skipped. ``settings`` are what places depend on beside folder
    and name; the log begins with them.

    Returns:
        All rows of the table.

    Raises:
        ValueError: when the folder has no photo, when table or log are of another folder or other settings, when the
            table is there without the log, or when another process is at it.
    """
    names = photo_names(folder)
    with _open_log(table, {"folder": str(folder.resolve()), **settings}) as log:
        rows = {row.file: row for row in (Location(**record) for _, record in log) if row.latitude is not None}
        missing = [name for name in names if name not in rows]
        if len(missing) < len(names):
            done = len(names) - len(missing)
            logger.info(f"{done} of {len(names)} photos are in {table} already and are skipped")
        try:
            for row in progress_bar(locate(missing), desc="locating", unit="photo", total=len(missing)):
                log.add(row.record)
                rows[row.file] = row
        finally:
            ordered = sorted(rows.values(), key=lambda row: row.file)
            write_locations(table, ordered)
            write_geojson(table.with_suffix(".geojson"), ordered)
    return ordered


def _open_log(table: Path, settings: Mapping[str, object]) -> JsonLines:
    path = table.with_name(f"{table.name}.jsonl")
    if table.exists() and not path.exists():
        read_locations(table)  # says whether it is another table
        raise ValueError(f"{table} was made otherwise (without {path.name}): write to another file or remove it")
    try:
        return JsonLines(path, settings)
    except OtherSettings as error:
        remedy = f"write to another file or remove it and {path.name}"
        raise ValueError(f"{table} was made otherwise ({error.differences}): {remedy}") from None


def write_locations(path: Path, rows: list[Location]) -> None:
    """The table (CSV)."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row.cells for row in rows)


def write_geojson(path: str | os.PathLike, rows: list[Location]) -> None:
    """A FeatureCollection (RFC 7946) with a feature for each row; one without a place has no geometry."""
    features = [
        {
            "type": "Feature",
            # GeoJSON has longitude first.
            "geometry": None
            if row.latitude is None
            else {"type": "Point", "coordinates": [row.longitude, row.latitude]},
            "properties": {name: value for name, value in row.cells.items() if name not in ("latitude", "longitude")},
        }
        for row in rows
    ]
    collection = {"type": "FeatureCollection", "features": features}
    with atomic_path(path) as temporary:
        # An indent of one, unlike write_json: files of earlier versions stay equal to the byte.
        temporary.write_text(json.dumps(collection, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
