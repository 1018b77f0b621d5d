"""Where candidates come from: whatever is a ``Source`` finds places for photos.

A gallery (``gallery_source.py``), GeoCLIP's points (``geoclip_source.py``), the guesses of a language model
(``guesses.py``), and a list that somebody brings, here. A locator asks all that it has, in their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from utils.candidates import Candidate
from utils.locating.photo import Photo
from utils.photos.credit import Credit
from utils.photos.images import open_image
from utils.tables.places import parse_places, read_places


@dataclass(frozen=True)
class Found:
    """What one source has for one photo."""

    candidates: Sequence[Candidate]  # best first
    negatives: tuple[Candidate, ...] = ()  # negative examples of a ranker's prompt
    problems: tuple[str, ...] = ()  # what could not be used
    notes: tuple[str, ...] = ()  # what else there is to know
    credits: Mapping[str, Credit] = field(default_factory=dict)  # of their photos, by id, where they are known
    unanswered: bool = False  # whether it was asked in vain, and may have more another time


class Source(Protocol):
    """Finds candidates."""

    words: str  # of what they are: "similar photos of GALLERY"
    take: int  # how many of the best are ranked
    merge_km: float  # but for those so near a better one: ``utils.candidates.pick_in_turn``

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        """What there is for each of ``photos``. Raises ``RuntimeError`` where there will be nothing for any other."""

    def open(self, image_id: str) -> Image.Image:
        """A candidate's photo. Raises ``ImageError`` naming one that cannot be read."""


class ListedPlaces:
    """A list of places, the same for each photo; their photos are paths."""

    merge_km = 0.0

    def __init__(self, candidates: Sequence[Candidate], problems: Sequence[str] = (), words: str = "a list") -> None:
        self.found = Found(candidates, problems=tuple(problems))
        self.take = len(candidates)
        self.words = f"places of {words}"

    @classmethod
    def read(
        cls, table: str | None, points: Sequence[Sequence[float]] = (), images: Sequence[str | None] = ()
    ) -> "ListedPlaces | None":
        """Of a CSV file, else of ``points`` and ``images`` as in ``parse_places``; None where there are none.

        Raises what ``read_places`` and ``parse_places`` do, and ``ValueError`` where no place is usable.
        """
        if table is None and not points:
            return None
        words = table or "CANDIDATE_COORDINATES"
        candidates, problems = parse_places(points, images) if table is None else read_places(table)
        if not candidates:
            raise ValueError("\n".join([f"{words}: no usable place", *problems]))
        return cls(candidates, problems, words)

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        return [self.found] * len(photos)

    def open(self, image_id: str) -> Image.Image:
        return open_image(image_id)
