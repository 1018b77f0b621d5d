"""Rewards on disk as they are found: an interrupted run goes on at the next query."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from utils.candidates import Query
from utils.evaluation.shown_photos import ShownPhotos
from utils.jobs.json_lines import JsonLines, read_json_lines
from utils.model.fingerprints import digest

logger = logging.getLogger(__name__)


class RewardLog(AbstractContextManager):
    """JSON lines ``{"key", "query", "rewards", "shown"}``, appended query by query to one file a process.

    A key stands for the query with all its candidates and for what scored it (``fingerprint``): a run with
    another adapter, table or setting finds nothing of this one. ``shown`` says which photos it showed, where ``photos``
    are given: with others it is scored anew. Queries that lost a candidate are not logged, so that a repaired photo is
    tried again.

    Raises ``ValueError`` when another process writes to the file of this ``rank``.
    """

    def __init__(self, folder: Path, fingerprint: str, rank: int = 0, photos: ShownPhotos | None = None):
        self.fingerprint = fingerprint
        self._photos = photos
        self._renews = rank == 0
        self._log = JsonLines(folder / f"rewards.{rank}.jsonl")
        self._entries: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)  # by key: those of other photos, too
        self.read()

    def read(self) -> None:
        """Learn of everything that any process has logged by now."""
        self._entries.clear()
        for path in sorted(self._log.path.parent.glob("rewards.*.jsonl")):
            for _, entry in read_json_lines(path):
                self._entries[entry["key"]].append(entry)

    def key(self, query: Query) -> str:
        return digest(f"{self.fingerprint} {query}")

    def get(self, query: Query) -> np.ndarray | None:
        """Logged rewards (candidates,) float32 of ``query``, with the photos that it shows now."""
        entries = self._entries.get(self.key(query), [])
        # One that does not say its photos counts until one does.
        entries = [entry for entry in entries if "shown" in entry] or entries
        entry = next((entry for entry in reversed(entries) if self._still_shown(query, entry)), None)
        return None if entry is None else np.array(entry["rewards"], dtype=np.float32)

    def known(self, queries: Sequence[Query]) -> dict[int, np.ndarray]:
        """Position -> logged rewards (candidates,) of those ``queries`` that have some."""
        entries = [self._entries.get(self.key(query), ()) for query in queries]
        older = sum(bool(logged) and all("shown" not in entry for entry in logged) for logged in entries)
        if older and self._photos is not None:
            logger.info("%d queries were logged without their photos: taken for those that are there now", older)
        found = {position: self.get(query) for position, query in enumerate(queries)}
        return {position: rewards for position, rewards in found.items() if rewards is not None}

    def append(self, query: Query, rewards: np.ndarray) -> None:
        """Written through before it returns."""
        shown = {} if self._photos is None else {"shown": self._photos.note(query)}
        self._add({"key": self.key(query), "query": query.image, "rewards": rewards.tolist()} | shown)

    def _still_shown(self, query: Query, entry: dict[str, Any]) -> bool:
        """Whether a query shows what it did when ``entry`` was logged; if only times differ, they are noted."""
        if self._photos is None:
            return True
        noted = entry.get("shown")
        now = self._photos.note(query) if noted is None else self._photos.renewed(query, noted)
        if self._renews and now is not None and now != noted:
            self._add(entry | {"shown": now})
        return now is not None

    def _add(self, entry: dict[str, Any]) -> None:
        self._log.add(entry)
        self._entries[entry["key"]].append(entry)

    def __exit__(self, *_: object) -> None:
        """Let other processes write; what is there can still be looked up."""
        self._log.close()
