"""Rewards on disk as they are found: an interrupted run goes on at the next query."""

import json
from pathlib import Path

import numpy as np

from utils.candidates import Query
from utils.model.fingerprints import digest


class RewardLog:
    """JSON lines ``{"key", "query", "rewards"}``, appended query by query to one file a process.

    A key stands for the query with all its candidates and for what scored it (``fingerprint``): a run with
    another adapter, table or setting finds nothing of this one. Lines that an interruption tore are passed
    over. Queries that lost a candidate are not logged, so that a repaired photo is tried again.
    """

    def __init__(self, folder: Path, fingerprint: str, rank: int = 0):
        self.fingerprint = fingerprint
        self.path = folder / f"rewards.{rank}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.finished: dict[str, list[float]] = {}
        for path in sorted(folder.glob("rewards.*.jsonl")):
            for line in path.read_bytes().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                self.finished[entry["key"]] = entry["rewards"]

    def key(self, query: Query) -> str:
        return digest(f"{self.fingerprint} {query}")

    def get(self, query: Query) -> np.ndarray | None:
        """Logged rewards (candidates,) float32 of ``query``."""
        rewards = self.finished.get(self.key(query))
        return None if rewards is None else np.array(rewards, dtype=np.float32)

    def append(self, query: Query, rewards: np.ndarray) -> None:
        """Written through before it returns."""
        line = json.dumps({"key": self.key(query), "query": query.image, "rewards": rewards.tolist()})
        with open(self.path, "ab") as file:
            # The line break comes first, so that a torn line before it spoils nothing.
            file.write(b"\n" + line.encode())
