"""One photo to rank places for: what ``quick_start.py`` and ``quick_start_im2gps3k.py`` share."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from utils.candidates import Candidate, Query, read_candidate_table
from utils.gazetteer import Gazetteer
from utils.images import ImageError, ImageStore, open_image


@dataclass(frozen=True)
class Task:
    """What to rank."""

    photo: Image.Image
    query: Query
    gallery: ImageStore | None  # where the candidates' photos are; None: they are paths
    problems: list[str]


def benchmark_task(
    image_id: str,
    *,
    candidates: str,
    image_path: str,
    image_data_path: str,
    tar_index_path: str | None,
    topn: int,
    topn_zs: int,
) -> Task:
    """A query of a benchmark, found by its IMG_ID in the table ``candidates``.

    ``topn`` retrieved and ``topn_zs`` generated candidates; the paths are the flags of evaluate.py. Raises
    ``ValueError``, naming table and query, where it is not in there or has nothing to rank, and what opening
    the photo and the gallery raises.
    """
    queries, problems = read_candidate_table(candidates, topn, topn_zs)
    found = [query for query in queries if query.image == image_id]
    problems = [problem for problem in problems if image_id in problem]
    if not found:
        raise ValueError("\n".join([f"{image_id} is no usable query of {candidates}", *problems]))
    gallery = ImageStore.from_paths([image_data_path], tar_index_path)
    photo = ImageStore.from_paths([image_path]).open(image_id)
    return Task(photo, found[0], gallery, problems)


def readable_candidates(task: Task) -> list[Candidate]:
    """The candidates but for those whose photo cannot be read, which go to the task's problems.

    Raises ``ValueError`` where none is left.
    """
    open_photo = open_image if task.gallery is None else task.gallery.open
    candidates = []
    for candidate in task.query.candidates:
        try:
            if candidate.image is not None:
                open_photo(candidate.image)
            candidates.append(candidate)
        except ImageError as error:
            task.problems.append(f"{error}; place left out")
    if not candidates:
        raise ValueError("\n".join(["no place to rank", *task.problems]))
    return candidates


def place_names(candidates: Sequence[Candidate]) -> list[str]:
    """The candidates' own names, or the nearest town with its distance where they have none."""
    points = [(candidate.latitude, candidate.longitude) for candidate in candidates]
    towns = Gazetteer().lookup(*zip(*points, strict=True)).to_dict("records")
    return [
        ", ".join(filter(None, candidate.texts))
        or f"{town['distance_km']:.0f} km from {town['city']}, {town['country']}"
        for candidate, town in zip(candidates, towns, strict=True)
    ]
