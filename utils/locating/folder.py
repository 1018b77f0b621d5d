"""All photos of a folder, located one after the other."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from utils.answer import Demand
from utils.geo_ranker import GeoRanker
from utils.locating.locate import Locator
from utils.locating.locations import CONFIDENCE_KM, Location, locate_photos
from utils.locating.ranking_task import rank_task
from utils.model.fingerprints import digest, fingerprint, settings_hash
from utils.photos.images import ImageError

logger = logging.getLogger(__name__)

GPS_NOTE = "{} has GPS coordinates in its EXIF; they are not used"


def identities(
    ranker: GeoRanker, locator: Locator, index: str | os.PathLike, base: str, adapter: str | os.PathLike
) -> dict[str, object]:
    """Of the ``settings`` of ``rank_folder`` those that no flag says: the index, its gallery, what scores.

    ``base`` (hub name or folder) and ``adapter`` (folder) are those that ``ranker`` was loaded from.
    """
    return {
        "index": str(Path(index).resolve()),
        "gallery": locator.gallery.digest[:16],
        "ranker": digest(fingerprint(base, adapter, ranker.info, {}))[:16],
        "calibration": settings_hash(adapter)[:16],
    }


def rank_folder(
    ranker: GeoRanker,
    locator: Locator,
    folder: Path,
    table: Path,
    method: str,
    settings: Mapping[str, object],
    demand: Demand | None = None,
) -> list[Location]:
    """The places of the photos of ``folder`` in ``table`` (CSV) and a GeoJSON file beside it.

    ``method`` is one of ``utils.decoding.METHODS``; ``settings`` are what the places depend on beside folder and name,
    ``demand`` says how sure an answer has to be.
    Returns all rows; see ``locate_photos`` for what is raised.
    """

    def locate(name: str) -> Location:
        try:
            task = locator.task(folder / name)
            if task.has_gps:
                logger.info(GPS_NOTE.format(name))
            outcome = rank_task(ranker, task, method, demand)
        except torch.OutOfMemoryError:
            raise ImageError("does not fit into memory") from None
        answer = outcome.answer
        confidence = answer.confidence and round(answer.confidence[CONFIDENCE_KM], 4)
        place = (answer.latitude, answer.longitude, answer.place)
        return Location(name, *place, confidence, answer.answered, "; ".join(task.problems))

    return locate_photos(folder, table, locate, settings)
