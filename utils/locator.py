"""Where was a photo taken? Candidates from all that this machine has, and one answer.

>>> from utils.locator import Locator
>>> locator = Locator.from_pretrained("checkpoints/earth-base", "checkpoints/earth", generate=3)
>>> answer = locator.locate("dataset/earth/test/images/test_000007.jpg")
>>> print(answer.place, answer.latitude, answer.longitude, answer.confidence)

``quick_start.py`` is thin around it.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from utils.answer import Answer
from utils.calibration import Sources
from utils.locating.choices import Choices
from utils.locating.judging import Judge
from utils.locating.photo import IN_MEMORY, Photo
from utils.locating.sources import Source
from utils.locating.task import Task, task_of
from utils.locating.variation import Variation
from utils.model.device import checked_device, own_device
from utils.photos.formats import photo_names
from utils.photos.images import ImageError

BATCH_SIZE = 8  # photos

Picture = str | os.PathLike | bytes | Image.Image | Photo


class Locator:
    """Asks ``sources`` for a photo's candidates and lets ``judge`` decide.

    ``known_as`` is what a calibration calls the sources, None where none can know them; ``identity`` is all that
    answers depend on beside the photo, ready for JSON; ``batch_size`` photos are located at a time; ``choices`` are
    those that it was loaded from. Several threads may use it: they take turns.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        judge: Judge,
        known_as: Sources | None = None,
        identity: Mapping[str, Any] | None = None,
        batch_size: int = 1,
        choices: Choices | None = None,
    ) -> None:
        self.sources, self.judge, self.known_as, self.identity = sources, judge, known_as, identity or {}
        self.batch_size, self.choices = batch_size, choices
        self._turn = threading.Lock()  # a model that guesses and ranks has states, such as whether its adapter is on

    @classmethod
    def from_pretrained(
        cls,
        model: str | None = None,
        model_path: str | os.PathLike | None = None,
        *,
        device: str | None = None,
        **choices: Any,
    ) -> "Locator":
        """From a base model, an adapter and further ``choices`` (``utils/locating/choices.py``).

        ``device`` is by default this process's GPU where there is one, else the CPU. Raises ``FileNotFoundError`` and
        ``ValueError``, naming the file, where one is missing or damaged, and ``ValueError`` where the choices do not go
        together.
        """
        chosen = Choices(model, model_path, **choices)
        chosen.check_demand()
        locator = cls.load(chosen, device)
        locator.check_demand()
        return locator

    @classmethod
    def load(cls, choices: Choices, device: str | None = None, judge: Judge | None = None) -> "Locator":
        """The same from ``choices``, and from their ``judge`` where it is loaded already."""
        device = str(checked_device(device or own_device(0)))
        judge = judge or choices.judge(device)
        sources = choices.sources(device, judge)
        # A CPU gains nothing from several at a time, and a run that is killed loses them.
        batch_size = 1 if device == "cpu" and choices.model_name is None else BATCH_SIZE
        return cls(sources, judge, choices.known_as(sources), choices.identity(judge, sources), batch_size, choices)

    def varied(self, variation: Variation) -> "Locator":
        """One that differs in this, of the same models in memory; without an ``identity``.

        Raises ``ValueError`` where no source of candidates is left.
        """
        choices = variation.choices(self.choices)
        sources = variation.sources(self.sources)
        judge = self.judge.varied(variation.decode, variation.demand)
        varied = Locator(sources, judge, choices.known_as(sources), None, self.batch_size, choices)
        varied._turn = self._turn
        return varied

    def check_demand(self) -> None:
        """Raise ``ValueError`` where something is demanded of answers of which nothing can be known.

        Only the adapter's calibration says so of a locator whose choices pass ``Choices.check_demand``.
        """
        decider, known_as = self.judge.decider, self.known_as
        if self.judge.demand is not None and not decider.may_know(known_as):
            counts = (known_as.topn, known_as.topn_zs) if known_as else (0, 0)
            why = decider.why_unknown(known_as, counts)
            raise ValueError(
                f"demand (--min_confidence): {why}, so how sure an answer is cannot be known: leave it out"
            )

    def locate(self, photo: Picture) -> Answer:
        """The answer for one photo: a path, the bytes of a file, or a picture of PIL.

        Raises:
            ImageError: naming a photo that cannot be read or does not fit into memory, or where no candidate is left.
            ValueError: where something is demanded (``demand``) and nothing is known of such candidates.
            RuntimeError: where a server refuses to guess for any photo.
        """
        ((_, found),) = self.locate_all([photo])
        if isinstance(found, ValueError):
            raise found
        return found

    def locate_all(
        self, photos: str | os.PathLike | Iterable[Picture], names: Sequence[str] | None = None
    ) -> Iterator[tuple[str, Answer | ValueError]]:
        """Each photo's name and its answer, or what keeps one away, as ``locate``; ``batch_size`` photos at a time.

        Args:
            photos: a folder, whose photos are found in its subfolders, too, and called by their path relative to it, or
                pictures as ``locate`` takes them, which are called by their path.
            names: of a folder, the photos that are meant.
        """
        if isinstance(photos, (str, os.PathLike)):
            folder = Path(photos)
            names = photo_names(folder) if names is None else names
            opened = ((name, _opened(folder / name, name)) for name in names)
        else:
            opened = ((_called(picture), _opened(picture)) for picture in photos)
        for batch in _batches(opened, self.batch_size):
            with self._turn:
                located = self._located(batch)
            yield from located

    def _located(self, batch: Sequence[tuple[str, Photo | ImageError]]) -> Iterator[tuple[str, Answer | ValueError]]:
        tasks = self.find([photo for _, photo in batch if isinstance(photo, Photo)])
        answers = iter(self.judge.answers([task for task in tasks if isinstance(task, Task)]))
        found = iter([next(answers) if isinstance(task, Task) else task for task in tasks])
        return ((name, next(found) if isinstance(photo, Photo) else photo) for name, photo in batch)

    def find(self, photos: Sequence[Photo]) -> list[Task | ImageError]:
        """The candidates of each photo, for ``judge``; an error of one that an encoder refuses, as with some shapes."""
        try:
            found = [source.find(photos) for source in self.sources] if photos else []
        except ValueError as error:
            if len(photos) == 1:
                return [ImageError(f"{photos[0].path}: {error}")]
            return list(chain.from_iterable(self.find([photo]) for photo in photos))
        each = zip(photos, *found, strict=True)
        return [task_of(photo, self.sources, part, known_as=self.known_as) for photo, *part in each]


def _opened(picture: Picture, image_id: str | None = None) -> Photo | ImageError:
    if isinstance(picture, Photo):
        return picture
    try:
        return Photo.open(picture, image_id)
    except ImageError as error:
        return error


def _called(picture: Picture) -> str:
    if isinstance(picture, Photo):
        return picture.path
    return str(picture) if isinstance(picture, (str, os.PathLike)) else IN_MEMORY


def _batches(
    photos: Iterable[tuple[str, Photo | ImageError]], size: int
) -> Iterator[list[tuple[str, Photo | ImageError]]]:
    """At most ``size`` photos at a time, whose file names differ: by them guesses are told apart."""
    batch: list[tuple[str, Photo | ImageError]] = []
    names: set[str] = set()
    for name, photo in photos:
        own = photo.name if isinstance(photo, Photo) else None
        if len(batch) == size or own in names:
            yield batch
            batch, names = [], set()
        batch.append((name, photo))
        names |= {own} - {None}
    if batch:
        yield batch
