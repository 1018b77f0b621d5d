"""What the worker does with a photo: decode it, find its candidates, decide, and say it as a page shows it."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from utils.answer import Answer, NothingKnown
from utils.jobs.files import atomic_path, write_json
from utils.locating.judging import PhotoDoesNotFit
from utils.locating.photo import IN_MEMORY, Photo
from utils.locating.task import Task, Unanswered
from utils.page.assets import towns
from utils.page.entry import Located, entry
from utils.page.features import features
from utils.page.map_files import geojson, kml
from utils.photos.formats import EXTENSIONS
from utils.photos.images import ImageError
from utils.servers.errors import ServerError
from utils.web.jobs import Job, Stage
from utils.web.problems import Problem, told
from utils.web.settings import Offer, Settings
from utils.web.upload import Upload

logger = logging.getLogger(__name__)

# Where a confidence was asked for that such a photo's answer cannot have.
REMEDY = "; leave `No answer if less sure than` (min_confidence) empty for it"
STARTED = "; the app was started with a smallest confidence, without which it would have a place"


class Decides(Protocol):
    """What ``Judge`` does with candidates."""

    def answers(self, tasks: Sequence[Task]) -> list[Answer | ValueError]: ...


class Locates(Protocol):
    """What ``Locator`` does with a photo."""

    judge: Decides

    def find(self, photos: Sequence[Photo]) -> list[Task | ImageError]: ...


class Finds(Protocol):
    """What ``Finder`` is for."""

    offer: Offer

    def locator(self, photo: Image.Image, settings: Settings) -> Locates: ...


class Worker:
    """Locates photos of at most ``max_pixels`` with ``finder``.

    One is decoded at a time. With ``keep`` it writes each, and its ranking, into that folder.
    """

    def __init__(self, finder: Finds, max_pixels: int, keep: Path | None = None) -> None:
        self.finder, self.max_pixels, self.keep = finder, max_pixels, keep

    def __call__(self, job: Job) -> Mapping[str, Any]:
        """The entry of its photo for a page, with what its map needs, ready for JSON; see ``Jobs``."""
        job.reach(Stage.READING)
        upload = job.upload
        try:
            answer, photo = self._located(job, upload)
        except (MemoryError, PhotoDoesNotFit):  # whose words name flags, which nobody has at the page
            raise Problem(507, "the photo does not fit into memory") from None
        except ServerError as error:
            raise Problem(502, f"the server that guesses: {error}") from None
        except ValueError as error:
            text = str(error).replace(photo_name(upload), IN_MEMORY).removeprefix(f"{IN_MEMORY}: ")
            if isinstance(error, NothingKnown):
                text += REMEDY if upload.settings.min_confidence is not None else STARTED
            raise Problem(502 if isinstance(error, Unanswered) else 422, text) from None
        found = told(dict(entry(Located(upload.name, answer, photo.image))))
        if self.keep is not None:
            self._keep(upload, found["ranking"])
        places = features([found["ranking"]])
        title = f"Where was {upload.name} taken?"
        files = {"geojson": geojson(places), "kml": kml(places, title)}
        return {"entry": found, "towns": towns([(answer.latitude, answer.longitude)]), "files": files}

    def _keep(self, upload: Upload, ranking: Mapping[str, Any]) -> None:
        """A full disk costs nobody the answer."""
        try:
            keep(self.keep, upload, ranking)
        except OSError as error:
            logger.warning("a photo could not be kept: %s", error)

    def _located(self, job: Job, upload: Upload) -> tuple[Answer, Photo]:
        photo = replace(Photo.open(upload.data, max_pixels=self.max_pixels), path=photo_name(upload))
        locator = self.finder.locator(photo.image, upload.settings)
        job.reach(Stage.CANDIDATES)
        (task,) = locator.find([photo])
        if isinstance(task, ValueError):
            raise ValueError(str(task))  # not itself: it and this frame, which has the photo, would hold each other
        job.reach(Stage.RANKING)
        (answer,) = locator.judge.answers([task])
        if isinstance(answer, ValueError):
            raise type(answer)(str(answer))
        return answer, photo


def photo_name(upload: Upload) -> str:
    """What logs and errors call a photo, and guesses are drawn by: its content, not what somebody calls it."""
    return f"{IN_MEMORY} {hashlib.sha256(upload.data).hexdigest()[:8]}"


def keep(folder: Path, upload: Upload, ranking: Mapping[str, Any]) -> None:
    """Write the photo as it came, and its ranking, by time and content; not by the name that somebody sent."""
    suffix = Path(upload.name).suffix.lower()
    name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S-%f}-{hashlib.sha256(upload.data).hexdigest()[:8]}"
    with atomic_path(folder / f"{name}{suffix if suffix in EXTENSIONS else ''}") as temporary:
        temporary.write_bytes(upload.data)
    write_json(folder / f"{name}.json", ranking)
