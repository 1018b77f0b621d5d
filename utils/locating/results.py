"""The files of one located photo: its ranking as JSON and its map."""

import os
from collections.abc import Mapping
from typing import Any

from PIL import Image

from utils.answer import Answer
from utils.figures.ranking_map import ranking_map
from utils.figures.style import save
from utils.jobs.files import write_json
from utils.locating.listing import distances_to


def write_results(
    answer: Answer,
    photo: Image.Image,
    about: Mapping[str, Any],
    ranking: str | os.PathLike,
    picture: str | os.PathLike,
    truth: tuple[float, float] | None = None,
) -> None:
    """Write the JSON file ``ranking``, then the PNG file ``picture``.

    ``about`` comes first in the JSON file, then the ``truth`` where it is known (degrees, and km to the answer). See
    docs/own_photos.md for the rest.
    """
    write_json(ranking, ranking_json(answer, about, truth))
    points, shares = [place.point for place in answer.places], [place.share for place in answer.places]
    names = [place.name for place in answer.places]
    figure = ranking_map(
        points,
        shares,
        answer.index,
        truth=truth,
        photo=photo,
        labels=names,
        regions=answer.regions,
        sure=answer.answered is not False,
    )
    save(figure, picture)


def ranking_json(answer: Answer, about: Mapping[str, Any], truth: tuple[float, float] | None = None) -> dict[str, Any]:
    """What the JSON file holds; see ``write_results``."""
    said = dict(about)
    if truth is not None:
        distance = distances_to(truth, answer)[answer.index]
        said["truth"] = {"latitude": truth[0], "longitude": truth[1], "distance_km": distance}
    return said | answer.as_json()
