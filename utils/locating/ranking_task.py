"""One photo to rank places for: what ``quick_start.py`` and ``quick_start_im2gps3k.py`` share."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from utils.answer import Answer, Demand, answer
from utils.calibration import Sources, outlook
from utils.candidates import Candidate, Query
from utils.decider import Decider
from utils.decoding import Evidence, decode
from utils.geo_ranker import GeoRanker, RankedCandidate
from utils.geography.place_names import place_names
from utils.jobs.files import write_json
from utils.model.readable import readable
from utils.photos.exif import has_gps
from utils.photos.images import ImageError, open_image
from utils.photos.jpeg import as_jpeg
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table
from utils.tables.metadata import gallery_hash

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What to rank."""

    photo: Image.Image
    query: Query
    gallery: ImageStore | None  # where the candidates' photos are; None: they are paths
    problems: list[str]
    has_gps: bool = False  # whether the photo says where it was taken, which nobody reads
    sources: Sources | None = None  # where the candidates came from; None: from a list
    name: str = "the photo"  # what a warning calls it

    @property
    def truth(self) -> tuple[float, float] | None:
        """(latitude, longitude) in degrees where it is known."""
        return None if self.query.latitude is None else (self.query.latitude, self.query.longitude)


@dataclass(frozen=True)
class Outcome:
    """A task's ranking and its answer."""

    ranking: list[RankedCandidate]  # best first
    points: list[tuple[float, float]]  # their coordinates in degrees
    names: list[str]  # of their places
    index: int  # of the answer in the ranking
    answer: Answer
    why_unknown: str = ""  # why it states no confidence


def rank_task(ranker: GeoRanker, task: Task, method: str, demand: Demand | None = None) -> Outcome:
    """Rank the task's candidates and decode one place by one of ``utils.decoding.METHODS``.

    How sure the answer is, is stated where the adapter was calibrated on candidates of the same sources. Of a photo
    unlike those that it was calibrated on nothing is stated, with a warning; where something is demanded, ``answered``
    is None. A candidate whose photo cannot be read goes to the task's problems. Raises ``ImageError`` where none is
    left, and ``ValueError`` where something is demanded of candidates of which nothing is known.
    """
    candidates, photos = readable_candidates(task)
    # The published quick_start.py re-encodes the query's photo with the candidates', the published evaluation does not.
    photo = as_jpeg(task.photo, ranker.info.candidate_jpeg_quality)
    ranking = ranker.rank(photo, candidates, task.query.negatives, images=photos)
    found = [ranked.candidate for ranked in ranking]
    points = [(candidate.latitude, candidate.longitude) for candidate in found]
    names = place_names(points, [candidate.texts for candidate in found])
    rewards, similarities = [ranked.reward for ranked in ranking], [candidate.similarity for candidate in found]
    evidence, info = Evidence(points, rewards, similarities), ranker.info
    index = decode(evidence, method, temperature=info.temperature, similarity_weight=info.similarity_weight)
    decider = Decider.of_adapter(info, method)
    unlike = info.domain is not None and not ranker.knows(photo)
    if unlike:
        message = "%s is unlike what the adapter was calibrated on (%s): no confidence is stated"
        logger.warning(message, task.name, info.domain)
    is_guess = [candidate.source == "generation" for candidate in found]
    counts = len(found) - sum(is_guess), sum(is_guess)
    calibration = None if unlike or not decider.knows(counts) else decider.calibration(task.sources)
    known = outlook(points, decider.decoder.shares(evidence), index, is_guess)
    stated = answer(found[index], names[index], known, calibration, None if unlike else demand)
    if unlike and demand is not None:
        stated = replace(stated, answered=None)
    why = "the photo is unlike those of the calibration" if unlike else decider.why_unknown(task.sources, counts)
    return Outcome(ranking, points, names, index, stated, "" if calibration else why)


def write_ranking(path: str | os.PathLike, outcome: Outcome, about: Mapping[str, Any]) -> None:
    """The answer and all candidates as JSON, best first; ``about`` is put before them. See docs/own_photos.md."""
    candidates = [
        {
            "latitude": ranked.candidate.latitude,
            "longitude": ranked.candidate.longitude,
            "reward": ranked.reward,
            "share": ranked.share,
            "place": name,
            "image": ranked.candidate.image,
            "source": ranked.candidate.source,
        }
        for ranked, name in zip(outcome.ranking, outcome.names, strict=True)
    ]
    write_json(path, {**about, **outcome.answer.as_json(), "candidates": candidates})


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
    gallery_metadata: str | None = None,
) -> Task:
    """A query of a benchmark, found by its IMG_ID in the table ``candidates``.

    The arguments are the flags of evaluate.py; ``gallery_metadata`` says which gallery it is, where that is known.
    Raises ``ValueError``, naming table and query, where it is not in
    there or has nothing to rank, and what opening the photo and the gallery raises.
    """
    found, problems = read_candidate_table(candidates, topn, topn_zs, merge_km=merge_km, only=image_id)
    if not found:
        raise ValueError("\n".join([f"{image_id} is no usable query of {candidates}", *problems]))
    gallery = ImageStore.from_paths([image_data_path], tar_index_path)
    photo = ImageStore.from_paths([image_path]).open(image_id)
    sources = Sources(topn, topn_zs, merge_km, gallery_hash(gallery_metadata))
    return Task(photo, found[0], gallery, problems, sources=sources, name=image_id)


def listed_task(
    path: str, candidates: Sequence[Candidate], problems: list[str], latitude: float | None, longitude: float | None
) -> Task:
    """One's own photo and the places to rank for it; ``latitude`` and ``longitude`` (degrees) are the truth if known.

    Raises ``ImageError`` naming a photo that cannot be read.
    """
    query = Query(path, tuple(candidates), latitude=latitude, longitude=longitude)
    return Task(open_image(path), query, None, problems, has_gps(Path(path)), name=path)


def readable_candidates(task: Task) -> tuple[tuple[Candidate, ...], dict[str, Image.Image]]:
    """The candidates but for those whose photo cannot be read, which go to the task's problems; and their photos.

    Raises ``ImageError`` where none is left.
    """
    query, photos, unreadable = readable(task.query, open_image if task.gallery is None else task.gallery.open)
    task.problems.extend(f"{error}; place left out" for _, error in unreadable)
    if not query.candidates:
        raise ImageError("\n".join(["no place to rank", *task.problems]))
    return query.candidates, photos
