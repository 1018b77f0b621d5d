"""What was answered so far, on disk: an interrupted run goes on from here, and asks no finished photo again."""

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from utils.jobs.json_lines import JsonLines, OtherSettings, check_settings, read_json_lines, read_record


@dataclass(frozen=True)
class Reply:
    """What came back for one photo: answers, or the problem that kept them away.

    An answer that the model refused to give is an empty text or its words of refusal.
    """

    img_id: str
    answers: tuple[str, ...] = ()
    problem: str | None = None
    tokens: int = 0  # that asking cost, where that is known or estimated


class Journal(Mapping[str, list[str]], AbstractContextManager):
    """Answers by photo, kept as one JSON line each, appended as they come (``utils/jobs/json_lines.py``).

    Process ``rank`` of several appends to a file of its own (``PATH``, ``PATH.1``, ``PATH.2``, ...), and every
    process reads them all when it starts. The first line of a file says how the model was asked. Memory holds
    where each answer stands, not the answers: millions of photos fit.

    Raises ``ValueError`` when a file of other settings is there, or when another process writes to this one's file.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, object], rank: int = 0) -> None:
        self.path = Path(path)
        self.settings = settings
        self._places: dict[str, tuple[Path, int]] = {}  # img_id -> file, offset of its line
        try:
            for file in self._files():  # first, so that a refused process leaves no file of its settings
                check_settings(file, settings)
            self._log = JsonLines(self.path.with_name(f"{self.path.name}.{rank}") if rank else self.path, settings)
        except OtherSettings as error:
            raise ValueError(f"{error}: remove it, or write to another --result_path") from None
        self.read()

    def _files(self) -> list[Path]:
        """Those of all processes that exist."""
        numbered = sorted(self.path.parent.glob(glob.escape(self.path.name) + ".[0-9]*"))
        return [file for file in (self.path, *numbered) if file.exists() and file.suffix != ".lock"]

    def read(self) -> None:
        """Learn of everything that any process has added by now."""
        for file in self._files():
            for offset, record in read_json_lines(file, self.settings):
                self._places[record["IMG_ID"]] = (file, offset)

    def add(self, img_id: str, answers: Sequence[str]) -> None:
        """Keep the ``answers`` about a photo: they are with the operating system when this returns."""
        offset = self._log.add({"IMG_ID": img_id, "response": list(answers)})
        self._places[img_id] = (self._log.path, offset)

    def __getitem__(self, img_id: str) -> list[str]:
        return read_record(*self._places[img_id])["response"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, img_id: object) -> bool:
        return img_id in self._places

    def __exit__(self, *_: object) -> None:
        """Let other processes write; what is there can still be read."""
        self._log.close()
