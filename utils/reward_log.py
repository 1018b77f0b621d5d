"""Rewards on disk as they are found: an interrupted run goes on at the next query."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from utils.adapter import FILENAME, AdapterInfo
from utils.candidates import Query


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


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(base: str, adapter: str | os.PathLike, info: AdapterInfo, settings: Mapping[str, Any]) -> str:
    """What scores: the weights of base and adapter (files by size and time), the prompt, and ``settings``.

    Calibration does not change rewards and leaves the fingerprint as it is. A base on the hub is its name.
    """
    trained = asdict(info)
    del trained["temperature"], trained["similarity_weight"]
    files = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for folder in (Path(base), Path(adapter))
        for path in sorted(folder.glob("*"))
        if path.is_file() and path.name != FILENAME
    ]
    return json.dumps([base, str(adapter), trained, dict(settings), files], sort_keys=True, default=str)
