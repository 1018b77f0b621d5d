"""A person's own list of places: a CSV file with columns latitude, longitude and, if known, place and image."""

import csv
from pathlib import Path

from utils.candidates import Candidate
from utils.geography.geodesy import parse_coordinate


def read_places(path: str) -> tuple[list[Candidate], list[str]]:
    """Candidates of a CSV file of places, and a message for each row that is left out."""
    candidates, problems = [], []
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        missing = {"latitude", "longitude"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
        for number, cells in enumerate(reader):
            try:
                point = parse_coordinate((float(cells["latitude"]), float(cells["longitude"])))
            except ValueError as error:
                problems.append(f"{path}: row {number}: {error}; place left out")
                continue
            place, image = cells.get("place"), cells.get("image")
            candidates.append(
                Candidate(
                    *point,
                    texts=(place,) if place else (),
                    image=str(Path(path).parent / image) if image else None,
                    source="csv",
                )
            )
    return candidates, problems
