"""A person's own list of places: a CSV file with columns latitude, longitude and, if known, place and image."""

import csv
from collections.abc import Sequence
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


def parse_places(
    points: Sequence[Sequence[float]], images: Sequence[str | None] = ()
) -> tuple[list[Candidate], list[str]]:
    """Candidates at ``points`` [latitude, longitude] in degrees, and a message for each that is left out.

    ``images`` are photos of the places in the same order, None for a place without; empty where there are none. Raises
    ``ValueError`` where they are not as many as the points.
    """
    images = images or [None] * len(points)
    if len(images) != len(points):
        raise ValueError(f"{len(points)} CANDIDATE_COORDINATES, but {len(images)} CANDIDATE_IMAGES")
    candidates, problems = [], []
    for number, (point, image) in enumerate(zip(points, images, strict=True)):
        try:
            candidates.append(Candidate(*parse_coordinate(point), image=image, source="list"))
        except ValueError as error:
            problems.append(f"CANDIDATE_COORDINATES[{number}]: {error}; place left out")
    return candidates, problems
