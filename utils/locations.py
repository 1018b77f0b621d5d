"""Where the photos of a folder were taken: a table that grows photo by photo, and the same on a map (GeoJSON)."""

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from tqdm import tqdm

from utils.exif import photo_names
from utils.files import atomic_path

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


def locate_photos(folder: Path, table: Path, locate: Callable[[str], Location]) -> list[Location]:
    """``locate`` the photos of a folder and its subfolders into ``table`` (CSV), and then into a GeoJSON file.

    Photos that are in the table already are skipped. A row is with the operating system when its photo is done. Where
    ``locate`` raises ``ValueError`` (a photo that cannot be read, or has a shape that a model refuses), the row has the
    problem and no place.

    Returns:
        All rows of the table.
    """
    rows = read_locations(table) if table.exists() else []
    with atomic_path(table) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(asdict, rows))
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
    write_geojson(table.with_suffix(".geojson"), rows)
    return rows


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
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(collection, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
