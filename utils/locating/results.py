"""The files of one ranked photo: its ranking as JSON and its map."""

import os
from collections.abc import Mapping
from typing import Any

from utils.figures.ranking_map import ranking_map
from utils.figures.style import save
from utils.locating.listing import distances_to
from utils.locating.ranking_task import Outcome, Task, write_ranking


def write_results(
    task: Task, outcome: Outcome, about: Mapping[str, Any], ranking: str | os.PathLike, picture: str | os.PathLike
) -> None:
    """Write the JSON file ``ranking``, then the PNG file ``picture``.

    ``about`` comes first in the JSON file, then the truth where the task knows it (degrees, and km to the answer).
    """
    truth, said = task.truth, dict(about)
    if truth is not None:
        distance = distances_to(truth, outcome)[outcome.index]
        said["truth"] = {"latitude": truth[0], "longitude": truth[1], "distance_km": distance}
    write_ranking(ranking, outcome, said)
    shares = [ranked.share for ranked in outcome.ranking]
    figure = ranking_map(outcome.points, shares, outcome.index, truth=truth, photo=task.photo, labels=outcome.names)
    save(figure, picture)
