"""All photos of a folder, located into a table and a map."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils.answer import Answer
from utils.locating.locations import CONFIDENCE_KM, Location, locate_photos

logger = logging.getLogger(__name__)


def locate_into(
    locate_all: Callable[[Path, Sequence[str]], Iterable[tuple[str, Answer | ValueError]]],
    identity: Mapping[str, object],
    folder: Path,
    table: Path,
    shown: Callable[[str, Answer | ValueError], Mapping[str, Any]] | None = None,
) -> list[Location]:
    """The places of the photos of ``folder`` in ``table`` (CSV) and a GeoJSON file beside it.

    ``locate_all`` and ``identity`` are those of a ``Locator``; ``shown`` says what a report tells of a photo, which the
    log keeps. Returns all rows; see ``locate_photos`` for what is raised.
    """

    def rows(names: Sequence[str]) -> Iterator[Location]:
        for name, found in locate_all(folder, names):
            found = _reason(folder / name, found) if isinstance(found, ValueError) else found
            if not isinstance(found, ValueError):
                log_notes(name, found)
            yield replace(location(name, found), shown=shown and shown(name, found))

    return locate_photos(folder, table, rows, identity)


def _reason(photo: Path, error: ValueError) -> ValueError:
    """The same without the photo's path, which errors begin with: beside it stands the name, and others read it."""
    return ValueError(str(error).removeprefix(f"{photo}: "))


def log_notes(name: str, found: Answer) -> None:
    """Say what else there is to know of the answer for the photo ``name``."""
    if found.has_gps:
        logger.info("%s has GPS coordinates in its EXIF; they are not used", name)
    for note in found.notes:
        logger.info("%s: %s", name, note)


def location(name: str, found: Answer | ValueError) -> Location:
    """The row of a photo."""
    if isinstance(found, ValueError):
        return Location(name, problem=str(found).replace("\n", "; "))
    confidence = found.confidence and round(found.confidence[CONFIDENCE_KM], 4)
    place = (found.latitude, found.longitude, found.place)
    return Location(name, *place, confidence, found.answered, "; ".join(found.problems))
