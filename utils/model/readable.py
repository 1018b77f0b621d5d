"""A query of whose photos some cannot be read: they are named, and cost only themselves."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from utils.candidates import Query
from utils.photos.images import ImageError

Photo = TypeVar("Photo")


class Unreadable(NamedTuple):
    """A photo of a query that cannot be read."""

    candidate: int | None  # position of the candidate; None: the query's own photo
    error: ImageError


def readable(
    query: Query,
    candidate_photo: Callable[[str], Photo],
    query_photo: Callable[[str], Photo] | None = None,
) -> tuple[Query, dict[str, Photo], list[Unreadable]]:
    """``query`` as far as its photos can be read, these photos by id, and those that cannot.

    Args:
        query: its photo and those of its candidates are ids.
        candidate_photo: id -> a candidate's photo; raises ``ImageError``.
        query_photo: id -> the query's photo, likewise; None where the caller has it.

    A candidate whose photo cannot be read is left out; where it is the query's own, all are. An id stands for one
    photo, which is read once: where photos of queries and of candidates may have equal ids, give the query another.
    """
    photos: dict[str, Photo] = {}
    if query_photo is not None:
        try:
            photos[query.image] = query_photo(query.image)
        except ImageError as error:
            return replace(query, candidates=()), {}, [Unreadable(None, error)]
    candidates, problems = [], []
    for number, candidate in enumerate(query.candidates):
        try:
            if candidate.image is not None and candidate.image not in photos:
                photos[candidate.image] = candidate_photo(candidate.image)
            candidates.append(candidate)
        except ImageError as error:
            problems.append(Unreadable(number, error))
    return replace(query, candidates=tuple(candidates)), photos, problems
