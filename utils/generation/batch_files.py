"""Asking by OpenAI's batch files, which cost half: requests as JSON lines, and results read back into the journal.

The format is that of https://platform.openai.com/docs/guides/batch. A request has the body that the live client sends
(``chat_request``), the photo inlined. Its ``custom_id`` says what was asked and about which photo, so that a result is
understood by itself, in whatever file and order it comes.
"""

import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from utils.generation.api import REFUSALS, chat_request, encode_photo
from utils.generation.completion import read_completion
from utils.generation.journal import Journal, Reply
from utils.jobs.files import atomic_path
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.servers.bounded_client import BadAnswer
from utils.servers.server import MESSAGE

logger = logging.getLogger(__name__)

# OpenAI's limits of a file.
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
URL = "/v1/chat/completions"


@dataclass(frozen=True)
class BatchForm:
    """How photos are asked about, and how that is written into requests and read out of results."""

    model: str
    num_samples: int
    temperature: float
    max_tokens: int
    max_side: int  # pixels
    settings: str  # digest of the journal's settings

    def request(self, img_id: str, photo: str) -> bytes:
        """The line that asks about a photo (data URL)."""
        body = chat_request(
            self.model, photo, self.num_samples, temperature=self.temperature, max_tokens=self.max_tokens
        )
        line = {"custom_id": f"{self._prefix}{img_id}", "method": "POST", "url": URL, "body": body}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def photo_of(self, custom_id: str) -> str:
        """The IMG_ID that a ``custom_id`` holds. Raises ``ValueError`` where something else was asked."""
        if not custom_id.startswith(self._prefix):
            raise ValueError(f"custom_id {custom_id[:80]!r} was asked with other settings, or by others")
        return custom_id.removeprefix(self._prefix)

    @property
    def _prefix(self) -> str:
        return f"{self.settings[:12]}-n{self.num_samples}-t{self.max_tokens}-"


# ---- requests ----


def write_requests(
    path: Path,
    image_ids: Iterable[str],
    store: ImageStore,
    form: BatchForm,
    journal: Journal,
    *,
    most_files: int | None = None,
    workers: int = 8,
) -> tuple[list[Path], list[str]]:
    """Write requests about photos to ``STEM-00001.jsonl``, ``STEM-00002.jsonl``, ..., within OpenAI's limits of a file.

    The journal notes which photos a file asks about when it is there, whole; numbers that it knows are not used again.
    After ``most_files`` files the rest is left for the next run. ``workers`` threads encode photos.

    Returns:
        The files, and what is wrong with photos that cannot be read.
    """
    problems: list[str] = []
    names = (path.with_name(f"{path.stem}-{number:05}.jsonl") for number in itertools.count(1))
    free = (name for name in names if name.name not in journal.batches)
    lines = _requests(image_ids, store, form, problems, workers)
    files: list[Path] = []
    line = next(lines, None)
    while line is not None and (most_files is None or len(files) < most_files):
        file, photos, size = next(free), [], 0
        with atomic_path(file) as temporary, open(temporary, "wb") as out:
            while line is not None and len(photos) < MOST_REQUESTS and size + len(line[1]) <= MOST_BYTES:
                size += out.write(line[1])
                photos.append(line[0])
                line = next(lines, None)
        journal.note_batch(file.name, photos)
        files.append(file)
    return files, problems


def _requests(
    image_ids: Iterable[str], store: ImageStore, form: BatchForm, problems: list[str], workers: int
) -> Iterator[tuple[str, bytes]]:
    """(IMG_ID, line) of the photos that can be read."""

    def line(img_id: str) -> bytes | ImageError:
        try:
            return form.request(img_id, encode_photo(store.open(img_id), form.max_side))
        except ImageError as error:
            return error

    waiting = iter(image_ids)
    with ThreadPoolExecutor(workers) as pool:
        while some := list(itertools.islice(waiting, 4 * workers)):  # no more are in memory
            for img_id, made in zip(some, pool.map(line, some), strict=True):
                if isinstance(made, ImageError):
                    problems.append(str(made))
                else:
                    yield img_id, made


# ---- results ----


def read_results(path: Path, form: BatchForm, photos: frozenset[str]) -> Iterator[Reply | str]:
    """What the lines of a result file say: replies about ``photos``, or what is wrong with a line, which it names.

    A reply without answers has a problem, and is to be asked for again. So is what a request file asked: it is read
    like a result, for batches that were never answered.
    """
    with open(path, "rb") as file:
        for number, line in _numbered(file):
            try:
                yield _reply(line, form, photos)
            except ValueError as error:
                yield f"{path}: line {number}: {error}"


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(file, 1) if line.strip())


def _reply(line: bytes, form: BatchForm, photos: frozenset[str]) -> Reply:
    """Raises ``ValueError`` for what is no result about one of ``photos``."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("custom_id"), str):
        raise ValueError("no JSON object with a custom_id: cut, or no result; its photo is known to its request file")
    img_id = form.photo_of(record["custom_id"])
    if img_id not in photos:
        raise ValueError(f"{img_id} is not in the metadata table")
    response = record.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    if isinstance(body, dict) and response.get("status_code") == 200 and not record.get("error"):
        return _answered(img_id, body, form)
    return _failed(img_id, record, body, form)


def _answered(img_id: str, body: dict[str, Any], form: BatchForm) -> Reply:
    try:
        completion = read_completion(json.dumps(body))
    except BadAnswer as error:
        return Reply(img_id, problem=f"{img_id}: {_one_line(str(error))}")
    answers = completion.answers[: form.num_samples]
    if len(answers) < form.num_samples:
        return Reply(img_id, problem=f"{img_id}: {len(answers)} answers, not {form.num_samples}: this server ignores n")
    cut = tuple(number for number, answer in enumerate(answers) if answer.cut)
    return Reply(img_id, tuple(answer.text for answer in answers), tokens=completion.tokens or 0, cut=cut)


def _failed(img_id: str, record: dict[str, Any], body: object, form: BatchForm) -> Reply:
    error = record.get("error") or (body.get("error") if isinstance(body, dict) else None) or "not answered"
    if isinstance(error, dict) and error.get("code") in REFUSALS:
        return Reply(img_id, ("",) * form.num_samples)
    said = error.get("message") or error.get("code") if isinstance(error, dict) else error
    return Reply(img_id, problem=f"{img_id}: {_one_line(str(said))}")


def _one_line(text: str) -> str:
    shown = text if len(text) <= MESSAGE else text[:MESSAGE] + "..."
    return "".join(sign if sign.isprintable() else " " for sign in shown)
