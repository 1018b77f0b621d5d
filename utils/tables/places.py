"""A person's own list of places: a CSV file with columns latitude, longitude and, if known, place and image.

See ``layout.py`` for what else the columns may be called, and what may separate them.
"""

from collections.abc import Sequence
from pathlib import Path

from utils.candidates import Candidate
from utils.geography.geodesy import parse_coordinate
from utils.tables.cells import check_row, rows_of
from utils.tables.layout import has_decimal_commas, parse_number, read_layout


def read_places(path: str) -> tuple[list[Candidate], list[str]]:
    """Candidates of a CSV file of places, and a message for each row that is left out.

    Raises ``ValueError`` naming the file when it lacks a column, telling those that it has.
    """
    try:
        layout = read_layout(path, ("latitude", "longitude"), ("place", "image"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    rows = list(rows_of(path, layout))
    comma = has_decimal_commas(layout.delimiter, (row[name] for row in rows for name in ("latitude", "longitude")))
    candidates, problems = [], []
    for number, cells in enumerate(rows):
        try:
            check_row(cells)
            point = parse_coordinate([parse_number(cells[name], comma) for name in ("latitude", "longitude")])
        except ValueError as error:
            problems.append(f"{path}: row {number}: {error}; place left out")
            continue
        place, image = cells.get("place", "").strip(), cells.get("image", "").strip()
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
