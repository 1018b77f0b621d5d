"""What was answered so far, on disk: an interrupted run goes on from here, and asks no finished photo again."""

import glob
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reply:
    """What came back for one photo: answers, or the problem that kept them away.

    An answer that the model refused to give is an empty text or its words of refusal.
    """

    img_id: str
    answers: tuple[str, ...] = ()
    problem: str | None = None
    tokens: int = 0  # that asking cost, where that is known or estimated


class Journal(Mapping[str, list[str]]):
    """Answers by photo, kept as one JSON line each, appended as they come.

    Process ``rank`` of several appends to a file of its own (``PATH``, ``PATH.1``, ``PATH.2``, ...), and every
    process reads them all when it starts. The first line of a file says how the model was asked. Memory holds
    where each answer stands, not the answers: millions of photos fit.

    A line is with the operating system when ``add`` returns, so a killed process loses none. It is not forced
    to the disk: a power cut may cost the last seconds, whose photos are then asked again.

    Raises ``ValueError`` when a file of other settings is there.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, object], rank: int = 0) -> None:
        path = Path(path)
        self.path = path.with_name(f"{path.name}.{rank}") if rank else path
        self.settings = dict(settings)
        self._places: dict[str, tuple[Path, int]] = {}  # img_id -> file, offset of its line
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._drop_torn_line()
        for file in (path, *sorted(path.parent.glob(glob.escape(path.name) + ".[0-9]*"))):
            if file.exists():
                self._read(file)
        if not self.path.exists() or self.path.stat().st_size == 0:
            self._append(self.settings)

    def _drop_torn_line(self) -> None:
        """Cut the file behind its last whole line: the process that wrote it was killed while it wrote."""
        with open(self.path, "rb+") as file:
            size = end = file.seek(0, os.SEEK_END)
            while end > 0:
                start = max(0, end - 65536)
                file.seek(start)
                if (last := file.read(end - start).rfind(b"\n")) >= 0:
                    end = start + last + 1
                    break
                end = start
            if end < size:
                file.truncate(end)

    def _read(self, path: Path) -> None:
        offset = 0
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):  # another process is writing it, or was killed while it wrote
                    break
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{path}: line {number}: {error}: remove this line") from error
                if number > 1:
                    self._places[record["IMG_ID"]] = (path, offset)
                elif record != self.settings:
                    raise ValueError(
                        f"{path} was made with other settings, {record}: remove it, or write to another --result_path"
                    )
                offset += len(line)

    def add(self, img_id: str, answers: Sequence[str]) -> None:
        """Keep the ``answers`` about a photo."""
        self._places[img_id] = (self.path, self._append({"IMG_ID": img_id, "response": list(answers)}))

    def _append(self, record: Mapping[str, object]) -> int:
        """Write a line and return its offset."""
        with open(self.path, "ab") as file:
            offset = file.tell()
            file.write(json.dumps(record).encode() + b"\n")
        return offset

    def __getitem__(self, img_id: str) -> list[str]:
        path, offset = self._places[img_id]
        with open(path, "rb") as file:
            file.seek(offset)
            return json.loads(file.readline())["response"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, img_id: object) -> bool:
        return img_id in self._places
