"""Asking by OpenAI's batch files, which cost half: requests as JSON lines, and results read back into the journal.

The format is that of https://platform.openai.com/docs/guides/batch. A request has the body that the live client sends
(``chat_request``), the photo inlined. Its ``custom_id`` says what was asked, in which file and about which photo, so
that a result is understood by itself, in whatever file and order it comes.
"""

import itertools
import json
import logging
import re
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


class AskedOtherwise(ValueError):
    """A result of a request that this run would not make."""


@dataclass(frozen=True)
class BatchForm:
    """How photos are asked about, and how that is written into requests and read out of results."""

    model: str
    num_samples: int
    temperature: float
    max_tokens: int
    max_side: int  # pixels
    settings: str  # digest of the journal's settings

    def request(self, batch: int, img_id: str, photo: str) -> bytes:
        """The line of a batch file that asks about a photo (data URL)."""
        body = chat_request(
            self.model, photo, self.num_samples, temperature=self.temperature, max_tokens=self.max_tokens
        )
        line = {"custom_id": f"{self._prefix}b{batch}-{img_id}", "method": "POST", "url": URL, "body": body}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def asked_by(self, custom_id: str) -> tuple[int, str]:
        """The number of the batch file and the IMG_ID that a ``custom_id`` holds.

        Raises ``AskedOtherwise`` where something else was asked.
        """
        asked = re.fullmatch(re.escape(self._prefix) + r"b(\d+)-(.+)", custom_id, re.DOTALL)
        if asked is None:
            raise AskedOtherwise(f"custom_id {custom_id[:80]!r} was asked with other settings, or by others")
        return int(asked[1]), asked[2]

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

    The journal notes which photos a file asks about when it is there, whole. Numbers that it knows are not used again,
    and a file that it does not know is left as it is: another journal's, or of a run that was killed. After
    ``most_files`` files the rest is left for the next run. ``workers`` threads encode photos.

    Returns:
        The files, and what is wrong: with photos that cannot be read, and with files that are too large even so.
    """
    problems: list[str] = []
    numbers = _free_numbers(path, journal)
    photos = _encoded(image_ids, store, form, problems, workers)
    files: list[Path] = []
    waiting = next(photos, None)
    while waiting is not None and (most_files is None or len(files) < most_files):
        number = next(numbers)
        file, asked, size = _numbered_path(path, number), [], 0
        with atomic_path(file) as temporary, open(temporary, "wb") as out:
            while waiting is not None and len(asked) < MOST_REQUESTS:
                line = form.request(number, *waiting)
                if asked and size + len(line) > MOST_BYTES:
                    break
                size += out.write(line)
                asked.append(waiting[0])
                waiting = next(photos, None)
        if size > MOST_BYTES:
            problems.append(f"{file}: {size:,} bytes to ask about {asked[0]}, of {MOST_BYTES:,}: lower --max_side")
        journal.note_batch(file.name, asked)
        files.append(file)
    return files, problems


def _numbered_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number:05}.jsonl")


def _free_numbers(path: Path, journal: Journal) -> Iterator[int]:
    for number in itertools.count(1):
        if number in journal.batches:
            continue
        if (file := _numbered_path(path, number)).exists():
            logger.warning("%s is left as it is: this run's journal, %s, does not know it", file, journal.path)
        else:
            yield number


def _encoded(
    image_ids: Iterable[str], store: ImageStore, form: BatchForm, problems: list[str], workers: int
) -> Iterator[tuple[str, str]]:
    """(IMG_ID, data URL) of the photos that can be read."""

    def encoded(img_id: str) -> str | ImageError:
        try:
            return encode_photo(store.open(img_id), form.max_side)
        except ImageError as error:
            return error

    waiting = iter(image_ids)
    with ThreadPoolExecutor(workers) as pool:
        while some := list(itertools.islice(waiting, 4 * workers)):  # no more are in memory
            for img_id, photo in zip(some, pool.map(encoded, some), strict=True):
                if isinstance(photo, ImageError):
                    problems.append(str(photo))
                else:
                    yield img_id, photo


# ---- results ----


def read_results(path: Path, form: BatchForm, photos: frozenset[str]) -> Iterator[tuple[int, Reply] | str]:
    """What the lines of a result file say, or what is wrong with a line, which it names.

    A line has the number of the batch file that asked, and the reply about one of ``photos``. A reply without answers
    has a problem, and is to be asked for again. So is what a request file asked: it is read like a result, for batches
    that were never answered. Lines that were asked otherwise are the whole file as a rule: one message tells of all.
    """
    otherwise: list[str] = []
    with open(path, "rb") as file:
        for number, line in _numbered(file):
            try:
                yield _reply(line, form, photos)
            except AskedOtherwise as error:
                otherwise.append(f"line {number}: {error}")
            except ValueError as error:
                yield f"{path}: line {number}: {error}"
    if otherwise:
        more = f" (and {len(otherwise) - 1:,} more like it)" if len(otherwise) > 1 else ""
        yield f"{path}: {otherwise[0]}: give the flags of the run that wrote it{more}"


def _numbered(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(file, 1) if line.strip())


def _reply(line: bytes, form: BatchForm, photos: frozenset[str]) -> tuple[int, Reply]:
    """Raises ``ValueError`` for what is no result about one of ``photos``."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("custom_id"), str):
        raise ValueError("no JSON object with a custom_id: cut, or no result; its photo is known to its request file")
    batch, img_id = form.asked_by(record["custom_id"])
    if img_id not in photos:
        raise ValueError(f"{img_id} is not in the metadata table")
    response = record.get("response")
    body = response.get("body") if isinstance(response, dict) else None
    if isinstance(body, dict) and response.get("status_code") == 200 and not record.get("error"):
        return batch, _answered(img_id, body, form)
    return batch, _failed(img_id, record, body, form)


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
