"""What was answered so far, on disk: an interrupted run goes on from here, and asks no finished photo again."""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from utils.geography.answers import parse_answer
from utils.jobs.json_lines import JsonLines, OtherSettings, check_settings, first_record, read_json_lines, read_record


def breaks_off_in_a_place(answer: str) -> bool:
    """Whether the place that an answer names stands at its very end, where digits or the side may be missing."""
    return parse_answer(answer) is not None and parse_answer(answer, cut=True) is None


@dataclass(frozen=True)
class Reply:
    """What came back for one photo: answers, or the problem that kept them away.

    An answer that the model refused to give is an empty text or its words of refusal.
    """

    img_id: str
    answers: tuple[str, ...] = ()
    problem: str | None = None
    tokens: int = 0  # that asking cost, where that is known or estimated
    cut: tuple[int, ...] = ()  # which of the answers, from 0, the limit of tokens cut off

    @property
    def whole(self) -> list[str]:
        """The answers without those that were cut off in the middle of a place, which would be read as another one."""
        return [
            answer
            for number, answer in enumerate(self.answers)
            if number not in self.cut or not breaks_off_in_a_place(answer)
        ]


class _Place(NamedTuple):
    """Where the record of a photo stands, and how it was asked about."""

    file: Path
    offset: int  # bytes
    max_tokens: int
    cut: bool  # whether any of its answers was


class Journal(Mapping[str, list[str]], AbstractContextManager):
    """Answers by photo, kept as one JSON line each, appended as they come (``utils/jobs/json_lines.py``).

    As a mapping it has the answers that may be read (``Reply.whole``); ``reply`` has all of them. Process ``rank`` of
    several appends to a file of its own (``PATH``, ``PATH.1``, ``PATH.2``, ...), and every process reads them all when
    it starts. The first line of a file says how the model was asked, each record how many tokens an answer could have
    (``max_tokens``) and which answers that cut off. Photos that a batch file asks about are noted, too. Memory holds
    where each answer stands, not the answers: millions of photos fit.

    Raises ``ValueError`` when a file of other settings is there, or when another process writes to this one's file.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, object], max_tokens: int, rank: int = 0) -> None:
        self.path = Path(path)
        self.settings = settings
        self.max_tokens = max_tokens
        self._places: dict[str, _Place] = {}  # by img_id
        self.batches: set[int] = set()  # numbers of the batch files that were written
        self.in_batches: dict[str, int] = {}  # img_ids that no result was read of, and the file that asks about them
        own = self.path.with_name(f"{self.path.name}.{rank}") if rank else self.path
        try:
            for file in self._files():  # first, so that a refused process leaves no file of its settings
                check_settings(file, self._settings_of(file))
            self._log = JsonLines(own, self._settings_of(own))
        except OtherSettings as error:
            raise ValueError(f"{error}: remove it, or write to another --result_path") from None
        self.read()

    def _files(self) -> list[Path]:
        """Those of all processes that exist."""
        numbered = sorted(self.path.parent.glob(glob.escape(self.path.name) + ".[0-9]*"))
        return [file for file in (self.path, *numbered) if file.exists() and file.suffix != ".lock"]

    def _settings_of(self, file: Path) -> Mapping[str, object]:
        """The settings that a file has to begin with: an older one has its token limit among them."""
        first = first_record(file) if file.exists() else {}
        return {**self.settings, "max_tokens": first["max_tokens"]} if "max_tokens" in first else self.settings

    def read(self) -> None:
        """Learn of everything that any process has added by now."""
        for file in self._files():
            for offset, record in read_json_lines(file, self._settings_of(file)):
                self._note(record, file, offset)

    def add(self, reply: Reply) -> None:
        """Keep the answers about a photo: they are with the operating system when this returns."""
        record = {"IMG_ID": reply.img_id, "response": list(reply.answers), "max_tokens": self.max_tokens}
        if reply.cut:
            record["cut"] = list(reply.cut)
        self._note(record, self._log.path, self._log.add(record))

    def sync(self) -> None:
        """Let the other machines see what was added, where the file lies on a file system that they share."""
        self._log.sync()

    def _note(self, record: Mapping[str, Any], file: Path, offset: int) -> None:
        if "batch" in record:
            self.batches.add(number := int(Path(record["batch"]).stem.rpartition("-")[2]))
            self.in_batches.update(dict.fromkeys(record["photos"], number))
            return
        self.in_batches.pop(record["IMG_ID"], None)
        if "response" not in record:
            return
        # Records of older journals do not say what their limit was, nor that it cut anything off.
        place = _Place(file, offset, record.get("max_tokens", 0), "cut" in record)
        known = self._places.get(record["IMG_ID"])
        # The files of several processes are in no order of time: of two records the one with more tokens is the later.
        if known is None or place.max_tokens >= known.max_tokens:
            self._places[record["IMG_ID"]] = place

    def note_batch(self, name: str, image_ids: Sequence[str]) -> None:
        """Keep that a batch file asks about photos: nobody else does, until they have answers or are released.

        Its number is at the end of ``name``, behind a hyphen.
        """
        record = {"batch": name, "photos": list(image_ids)}
        self._note(record, self._log.path, self._log.add(record))

    def release(self, img_id: str, batch: int) -> None:
        """Keep that a batch brought no answers about a photo: unless a later one asks, it is asked about again."""
        if self.in_batches.get(img_id) == batch:
            record = {"IMG_ID": img_id}
            self._note(record, self._log.path, self._log.add(record))

    def lacks(self, img_id: str) -> bool:
        """Whether a photo is to be asked about: it lacks answers, and no batch file asks for them."""
        return self.lacks_answers(img_id) and img_id not in self.in_batches

    def lacks_answers(self, img_id: str) -> bool:
        """Whether a photo has no answers, or some that fewer tokens than now cut off."""
        place = self._places.get(img_id)
        return place is None or (place.cut and place.max_tokens < self.max_tokens)

    def reply(self, img_id: str) -> Reply:
        """All answers about a photo."""
        place = self._places[img_id]
        record = read_record(place.file, place.offset)
        return Reply(img_id, tuple(record["response"]), cut=tuple(record.get("cut", ())))

    def __getitem__(self, img_id: str) -> list[str]:
        return self.reply(img_id).whole

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, img_id: object) -> bool:
        return img_id in self._places

    def __exit__(self, *_: object) -> None:
        """Let other processes write; what is there can still be read."""
        self._log.close()
