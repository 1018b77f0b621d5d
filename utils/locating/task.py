"""One photo with its candidates, before anything is decided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from PIL import Image

from utils.calibration import Sources
from utils.candidates import Candidate, pick_in_turn
from utils.locating.photo import Photo
from utils.locating.sources import Found, Source
from utils.photos.credit import Credit
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table
from utils.tables.ledger import find_credits, ledgers_of
from utils.tables.metadata import gallery_hash


class Unanswered(ImageError):
    """A photo has no candidates because whoever was asked for them did not answer, which may pass."""


@dataclass(frozen=True)
class Option:
    """A candidate of a task."""

    candidate: Candidate
    open: Callable[[str], Image.Image]  # its photo, by its id
    rank: float  # among those of its source that are taken, 0 the best; NaN: a guess
    credit: Credit | None = None  # whose its photo is; None: not known

    @property
    def is_guess(self) -> bool:
        return self.candidate.source == "generation"

    @property
    def own_photo(self) -> Callable[[], Image.Image] | None:
        """Opens its photo; None where it has none."""
        return None if self.candidate.image is None else partial(self.open, self.candidate.image)


@dataclass(frozen=True)
class Task:
    """What to decide."""

    photo: Photo
    options: tuple[Option, ...]
    negatives: tuple[Candidate, ...] = ()
    truth: tuple[float, float] | None = None  # (latitude, longitude) in degrees where it is known
    sources: Sources | None = None  # where the candidates came from, as calibrations know it; None: from elsewhere
    used: tuple[str, ...] = ()  # the same in words
    notes: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    unanswered: bool = False  # whether any source was asked in vain


def counts(options: Sequence[Option]) -> tuple[int, int]:
    """How many of the candidates are retrieved and how many are guesses."""
    guesses = sum(option.is_guess for option in options)
    return len(options) - guesses, guesses


def task_of(
    photo: Photo,
    sources: Sequence[Source],
    found: Sequence[Found],
    *,
    known_as: Sources | None = None,
) -> Task:
    """The best of what each of ``sources`` has ``found`` for the photo, those of the earlier ones first."""
    lists = [(part.candidates, source.take, source.merge_km) for source, part in zip(sources, found, strict=True)]
    options, used = [], []
    for source, part, taken in zip(sources, found, pick_in_turn(lists), strict=True):
        options += _options(taken, source.open, part.credits)
        used.append(f"{len(taken)} {source.words}")
    negatives = next((part.negatives for part in found if part.negatives), ())
    notes = tuple(note for part in found for note in part.notes)
    problems = [problem for part in found for problem in part.problems]
    unanswered = any(part.unanswered for part in found)
    return Task(photo, tuple(options), negatives, None, known_as, tuple(used), notes, problems, unanswered)


def _options(
    candidates: Sequence[Candidate], open_photo: Callable[[str], Image.Image], credits: Mapping[str, Credit]
) -> list[Option]:
    """Of one source, best first."""
    return [
        Option(candidate, open_photo, _rank(candidate, number), credits.get(candidate.image))
        for number, candidate in enumerate(candidates)
    ]


def _rank(candidate: Candidate, number: int) -> float:
    """Of a list that somebody brings, whose order says nothing, each is the best."""
    return {"generation": np.nan, "list": 0.0, "csv": 0.0}.get(candidate.source, float(number))


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
    Raises ``ValueError``, naming table and query, where it is not in there or has nothing to rank, and what opening the
    photo and the gallery raises.
    """
    found, problems = read_candidate_table(candidates, topn, topn_zs, merge_km=merge_km, only=image_id)
    if not found:
        raise ValueError("\n".join([f"{image_id} is no usable query of {candidates}", *problems]))
    (query,) = found[:1]
    gallery = ImageStore.from_paths([image_data_path], tar_index_path)
    photo = Photo(ImageStore.from_paths([image_path]).open(image_id), image_id, image_id)
    image_ids = [place.image for place in query.candidates if place.image is not None]
    credits, notes = find_credits(ledgers_of([] if gallery_metadata is None else [gallery_metadata]), image_ids)
    options = tuple(_options(query.candidates, gallery.open, credits))
    truth = None if query.latitude is None else (query.latitude, query.longitude)
    sources = Sources(topn, topn_zs, merge_km, gallery_hash(gallery_metadata))
    retrieved, guesses = counts(options)
    used = (f"{retrieved} retrieved and {guesses} generated places of {candidates}",)
    return Task(photo, options, query.negatives, truth, sources, used, notes, problems)


def readable_options(task: Task) -> tuple[list[Option], list[Image.Image | None]]:
    """The candidates but for those whose photo cannot be read, and their photos; None for one that has none.

    What cannot be read goes to the task's problems. Raises ``ImageError`` where nothing is left, ``Unanswered``
    where that may pass.
    """
    options: list[Option] = []
    photos: list[Image.Image | None] = []
    opened: dict[tuple[Callable, str], Image.Image] = {}
    for option in task.options:
        name = option.candidate.image
        try:
            if name is not None and (option.open, name) not in opened:
                opened[option.open, name] = option.open(name)
        except ImageError as error:
            task.problems.append(f"{error}; place left out")
            continue
        options.append(option)
        photos.append(None if name is None else opened[option.open, name])
    if not options:
        error = Unanswered if task.unanswered else ImageError
        raise error("\n".join(["no place to rank", *task.notes, *task.problems]))
    return options, photos
