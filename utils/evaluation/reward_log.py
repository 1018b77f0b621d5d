"""Rewards on disk as they are found: an interrupted run goes on at the next query."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from utils.candidates import Query
from utils.jobs.json_lines import JsonLines, read_json_lines
from utils.model.fingerprints import digest


class RewardLog(AbstractContextManager):
    """JSON lines ``{"key", "query", "rewards"}``, appended query by query to one file a process.

    A key stands for the query with all its candidates and for what scored it (``fingerprint``): a run with
    another adapter, table or setting finds nothing of this one. Queries that lost a candidate are not logged, so
    that a repaired photo is tried again.

    Raises ``ValueError`` when another process writes to the file of this ``rank``.
    """

    def __init__(self, folder: Path, fingerprint: str, rank: int = 0):
        self.fingerprint = fingerprint
        self._log = JsonLines(folder / f"rewards.{rank}.jsonl")
        self.finished: dict[str, list[float]] = {
            entry["key"]: entry["rewards"]
            for path in sorted(folder.glob("rewards.*.jsonl"))
            for _, entry in read_json_lines(path)
        }

    def key(self, query: Query) -> str:
        return digest(f"{self.fingerprint} {query}")

    def get(self, query: Query) -> np.ndarray | None:
        """Logged rewards (candidates,) float32 of ``query``."""
        rewards = self.finished.get(self.key(query))
        return None if rewards is None else np.array(rewards, dtype=np.float32)

    def known(self, queries: Sequence[Query]) -> dict[int, np.ndarray]:
        """Position -> logged rewards (candidates,) of those ``queries`` that have some."""
        found = {position: self.get(query) for position, query in enumerate(queries)}
        return {position: rewards for position, rewards in found.items() if rewards is not None}

    def append(self, query: Query, rewards: np.ndarray) -> None:
        """Written through before it returns."""
        self._log.add({"key": self.key(query), "query": query.image, "rewards": rewards.tolist()})

    def __exit__(self, *_: object) -> None:
        """Let other processes write; what is there can still be looked up."""
        self._log.close()
