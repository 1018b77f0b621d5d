"""Where the photos of a folder were taken: a table that grows photo by photo, and the same on a map (GeoJSON)."""

import csv
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tqdm import tqdm

from utils.jobs.files import atomic_path, write_json
from utils.photos.exif import photo_names

CONFIDENCE_KM = 200


@dataclass(frozen=True)
class Location:
    """A row of the table."""

    file: str  # relative to the folder
    latitude: float | None = None  # degrees; None where the photo could not be ranked
    longitude: float | None = None
    place: str = ""
    confidence: float | None = None  # probability (0 to 1) that the truth lies within CONFIDENCE_KM
    problem: str = ""


COLUMNS = [field.name for field in fields(Location)]
NUMBERS = ("latitude", "longitude", "confidence")


def read_locations(path: str | os.PathLike) -> list[Location]:
    """The complete rows of a table; that of an interrupted run may end in half a row.

    Raises ``ValueError`` naming the file when it is another table.
    """
    text = Path(path).read_bytes().decode("utf-8", "replace")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    if reader.fieldnames not in (None, COLUMNS):
        raise ValueError(f"{path} has other columns than {', '.join(COLUMNS)}: write to another file")
    rows = []
    for cells in reader:
        if cells["problem"] is not None:
            numbers = {name: float(cells[name]) if cells[name] else None for name in NUMBERS}
            rows.append(Location(**cells | numbers))
    return rows


def locate_photos(
    folder: Path, table: Path, locate: Callable[[str], Location], settings: Mapping[str, object]
) -> list[Location]:
    """``locate`` the photos of a folder and its subfolders into ``table`` (CSV), and then into a GeoJSON file.

    Photos that have a place in the table already are skipped. A row is with the operating system when its photo is
    done. Where ``locate`` raises ``ValueError`` (a photo that cannot be read, or has a shape that a model refuses), the
    row has the problem and no place. ``settings`` are what places depend on beside folder and name; they are kept
    beside the table, in a JSON file.

    Returns:
        All rows of the table.

    Raises:
        ValueError: when the table is of another folder or other settings.
    """
    known = table.with_suffix(".json")
    settings = {"folder": str(folder.resolve()), **settings}
    rows = [row for row in read_locations(table) if row.latitude is not None] if table.exists() else []
    if table.exists():
        check_settings(table, json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}, settings)
    write_json(known, settings)
    write_locations(table, rows)
    done = {row.file for row in rows}
    names = photo_names(folder)
    if done & set(names):
        print(f"{len(done & set(names))} of {len(names)} photos are in {table} already and are skipped")
    with open(table, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        for name in tqdm([name for name in names if name not in done], desc="locating", unit="photo"):
            try:
                row = locate(name)
            except ValueError as error:
                row = Location(name, problem=str(error).replace("\n", "; "))
            rows.append(row)
            writer.writerow(asdict(row))
            file.flush()
    rows.sort(key=lambda row: row.file)  # what was asked again stands behind the others
    write_locations(table, rows)
    write_geojson(table.with_suffix(".geojson"), rows)
    return rows


def write_locations(path: Path, rows: list[Location]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def check_settings(table: Path, known: Mapping[str, object], settings: Mapping[str, object]) -> None:
    """Raise ``ValueError``, naming what differs, unless a table was made with the settings at hand."""
    other = [f"{name} {known.get(name)}, not {value}" for name, value in settings.items() if known.get(name) != value]
    if other:
        raise ValueError(f"{table} was made otherwise ({'; '.join(other)}): write to another file or remove it")


def write_geojson(path: str | os.PathLike, rows: list[Location]) -> None:
    """A FeatureCollection (RFC 7946) with a feature for each row; one without a place has no geometry."""
    features = [
        {
            "type": "Feature",
            # GeoJSON has longitude first.
            "geometry": None
            if row.latitude is None
            else {"type": "Point", "coordinates": [row.longitude, row.latitude]},
            "properties": {name: value for name, value in asdict(row).items() if name not in ("latitude", "longitude")},
        }
        for row in rows
    ]
    collection = {"type": "FeatureCollection", "features": features}
    write_json(path, collection)
