"""One photo to rank places for: what ``quick_start.py`` and ``quick_start_im2gps3k.py`` share."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from utils.candidates import Candidate, Query
from utils.decoding import Evidence, Prediction, decode
from utils.geo_ranker import GeoRanker, RankedCandidate
from utils.geography.place_names import place_names
from utils.jobs.files import write_json
from utils.model.readable import readable
from utils.photos.exif import has_gps
from utils.photos.images import ImageError, open_image
from utils.photos.jpeg import as_jpeg
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table


@dataclass(frozen=True)
class Task:
    """What to rank."""

    photo: Image.Image
    query: Query
    gallery: ImageStore | None  # where the candidates' photos are; None: they are paths
    problems: list[str]
    has_gps: bool = False  # whether the photo says where it was taken, which nobody reads


@dataclass(frozen=True)
class Outcome:
    """A task's ranking and its answer."""

    ranking: list[RankedCandidate]  # best first
    points: list[tuple[float, float]]  # their coordinates in degrees
    names: list[str]  # of their places
    answer: Prediction  # its index counts in the ranking


def rank_task(ranker: GeoRanker, task: Task, method: str) -> Outcome:
    """Rank the task's candidates and decode one place by one of ``utils.decoding.METHODS``.

    A candidate whose photo cannot be read goes to the task's problems. Raises ``ImageError`` where none is left.
    """
    candidates, photos = readable_candidates(task)
    # The published quick_start.py re-encodes the query's photo with the candidates', the published evaluation does not.
    photo = as_jpeg(task.photo, ranker.info.candidate_jpeg_quality)
    ranking = ranker.rank(photo, candidates, task.query.negatives, images=photos)
    points = [(ranked.candidate.latitude, ranked.candidate.longitude) for ranked in ranking]
    evidence = Evidence(
        points,
        [ranked.reward for ranked in ranking],
        [ranked.candidate.similarity for ranked in ranking],
    )
    answer = decode(
        evidence, method, temperature=ranker.info.temperature, similarity_weight=ranker.info.similarity_weight
    )
    return Outcome(ranking, points, place_names(points, [ranked.candidate.texts for ranked in ranking]), answer)


def write_ranking(path: str | os.PathLike, outcome: Outcome) -> None:
    """A JSON list, best first."""
    records = [
        {
            "latitude": ranked.candidate.latitude,
            "longitude": ranked.candidate.longitude,
            "reward": ranked.reward,
            "probability": ranked.probability,
            "place": name,
            "image": ranked.candidate.image,
            "source": ranked.candidate.source,
        }
        for ranked, name in zip(outcome.ranking, outcome.names, strict=True)
    ]
    write_json(path, records)


def benchmark_task(
    image_id: str,
    *,
    candidates: str,
    image_path: str,
    image_data_path: str,
    tar_index_path: str | None,
    topn: int,
    topn_zs: int,
    merge_km: float = 0.0,
) -> Task:
    """A query of a benchmark, found by its IMG_ID in the table ``candidates``.

    The arguments are the flags of evaluate.py. Raises ``ValueError``, naming table and query, where it is not in
    there or has nothing to rank, and what opening the photo and the gallery raises.
    """
    queries, problems = read_candidate_table(candidates, topn, topn_zs, merge_km=merge_km)
    found = [query for query in queries if query.image == image_id]
    problems = [problem for problem in problems if image_id in problem]
    if not found:
        raise ValueError("\n".join([f"{image_id} is no usable query of {candidates}", *problems]))
    gallery = ImageStore.from_paths([image_data_path], tar_index_path)
    photo = ImageStore.from_paths([image_path]).open(image_id)
    return Task(photo, found[0], gallery, problems)


def listed_task(
    path: str, candidates: Sequence[Candidate], problems: list[str], latitude: float | None, longitude: float | None
) -> Task:
    """One's own photo and the places to rank for it; ``latitude`` and ``longitude`` (degrees) are the truth if known.

    Raises ``ImageError`` naming a photo that cannot be read.
    """
    query = Query(path, tuple(candidates), latitude=latitude, longitude=longitude)
    return Task(open_image(path), query, None, problems, has_gps(Path(path)))


def readable_candidates(task: Task) -> tuple[tuple[Candidate, ...], dict[str, Image.Image]]:
    """The candidates but for those whose photo cannot be read, which go to the task's problems; and their photos.

    Raises ``ImageError`` where none is left.
    """
    query, photos, unreadable = readable(task.query, open_image if task.gallery is None else task.gallery.open)
    task.problems.extend(f"{error}; place left out" for _, error in unreadable)
    if not query.candidates:
        raise ImageError("\n".join(["no place to rank", *task.problems]))
    return query.candidates, photos
