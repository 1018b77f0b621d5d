"""A query photo and the candidate places to rank for it.

Candidates are picked from what retrieval and generation found, without near-duplicates. The table that holds them on
disk is in ``utils/tables/candidate_table.py``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from utils.geography.geodesy import Coordinate, distance_matrix_km, geodesic_km, is_valid_coordinate

# The names that stand in the prompt at evaluation.
PROMPT_COLUMNS = ("city", "state", "country")
# How many candidates from the end of a query's retrieved list are its negative examples.
NUM_NEGATIVES = 5


def prompt_texts(names: Mapping[str, str]) -> tuple[str, ...]:
    """The place names that a prompt mentions at evaluation: city, state, country, empty ones dropped."""
    return tuple(names[column] for column in PROMPT_COLUMNS if names[column])


@dataclass(frozen=True)
class Candidate:
    """A place where the photo may have been taken.

    Raises ``ValueError`` when the coordinate is not a finite number of degrees in [-90, 90] x [-180, 180].
    """

    latitude: float  # degrees
    longitude: float  # degrees
    texts: tuple[str, ...] = ()  # place names as the prompt joins them, empty ones too
    image: str | Image.Image | None = None  # id of a gallery photo, path, or a photo in memory
    source: str = "retrieval"  # "retrieval", "generation", "geoclip" (a point of its), or a word of the caller's
    similarity: float | None = None  # cosine of the full embeddings of query photo and candidate photo
    geoclip: float | None = None  # GeoCLIP's cosine of query photo and place

    def __post_init__(self) -> None:
        if not is_valid_coordinate(self.latitude, self.longitude):
            raise ValueError(f"not a coordinate: latitude {self.latitude}, longitude {self.longitude}")


@dataclass(frozen=True)
class Query:
    """A photo with its candidates, best retrieved first, then the generated ones.

    ``negatives`` are the negative examples of the prompt. ``latitude`` and ``longitude`` (degrees) are the
    truth where it is known. Raises ``ValueError`` when only one of them is set or they are not a coordinate.
    """

    image: str | Image.Image  # id of a query photo, path, or a photo in memory
    candidates: tuple[Candidate, ...]
    negatives: tuple[Candidate, ...] = ()
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        if self.latitude is None and self.longitude is None:
            return
        if self.latitude is None or self.longitude is None:
            raise ValueError(f"half a truth: latitude {self.latitude}, longitude {self.longitude}")
        if not is_valid_coordinate(self.latitude, self.longitude):
            raise ValueError(f"not a coordinate: latitude {self.latitude}, longitude {self.longitude}")


def pick_candidates(
    retrieved: Sequence[Candidate], generated: Sequence[Candidate], topn: int, topn_zs: int, merge_km: float = 0.0
) -> tuple[Candidate, ...]:
    """What is ranked of a query's candidates: the best ``topn`` retrieved, then the best ``topn_zs`` generated.

    With ``merge_km``, candidates within so many km of a better one do not count: the next of the list takes
    the place (``apart``). A generated candidate yields to the retrieved ones that were taken,
    which have photo and names.
    """
    taken = pick_in_turn([(retrieved, topn, merge_km), (generated, topn_zs, merge_km)])
    return (*taken[0], *taken[1])


def pick_in_turn(lists: Sequence[tuple[Sequence[Candidate], int, float]]) -> list[list[Candidate]]:
    """The best of several lists of candidates, each with how many are taken of it and its ``merge_km``.

    Of the candidates that are within ``merge_km`` of a better one of their list, or of any that was taken of a list
    before it, none is taken (``apart``).
    """
    taken: list[list[Candidate]] = []
    for candidates, count, merge_km in lists:
        before = _points([candidate for part in taken for candidate in part])
        taken.append([candidates[number] for number in apart(_points(candidates), merge_km, before)][:count])
    return taken


def _points(candidates: Sequence[Candidate]) -> list[Coordinate]:
    return [(candidate.latitude, candidate.longitude) for candidate in candidates]


def apart(points: ArrayLike, radius_km: float, taken: Sequence[tuple[float, float]] = ()) -> list[int]:
    """Which points remain when each is dropped that lies within ``radius_km`` of a better one that remains.

    Args:
        points: (n, 2) [latitude, longitude] in degrees, best first.
        radius_km: great-circle distance; 0 drops nothing, not even the same place again.
        taken: (m, 2) better points that remain anyway.

    Returns:
        Increasing positions. No two of these points are within the radius of each other, and whatever was
        dropped is within the radius of a better one.
    """
    points, taken = (np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in (points, taken))
    if radius_km == 0:
        return list(range(len(points)))
    near = distance_matrix_km(np.concatenate([taken, points])) <= radius_km
    kept = list(range(len(taken)))
    for number in range(len(taken), len(near)):
        if not near[number, kept].any():
            kept.append(number)
    return [number - len(taken) for number in kept[len(taken) :]]


def distances_km(query: Query) -> np.ndarray:
    """Geodesic distance (WGS-84) of each of the query's candidates from the truth, (candidates,) km."""
    points = np.array([(candidate.latitude, candidate.longitude) for candidate in query.candidates])
    return geodesic_km(query.latitude, query.longitude, points[:, 0], points[:, 1])
