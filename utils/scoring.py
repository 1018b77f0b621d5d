"""Rewards of a whole benchmark: photos decoded ahead, batches of bounded size, resumable, many processes.

Data workers open and encode the photos and pack batches while the model runs. Every query that is done goes
into a log of JSON lines, so that an interrupted run goes on at the next query. Several processes, started by
``torchrun`` or ``accelerate launch``, take every n-th query each, and the first one collects the rewards.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from utils.adapter import FILENAME, AdapterInfo
from utils.candidates import Query
from utils.geo_ranker import GeoRanker
from utils.images import ImageError, ImageStore
from utils.packing import EncodedImage, PackedBatch, Packer, TokenizedQuery, chunks

# ---- what was lost ----


@dataclass(frozen=True)
class Problem:
    """Something that could not be scored: a candidate of a query, or the query as a whole."""

    query: int  # position of the query
    candidate: int | None  # position of the candidate; None: the whole query
    message: str  # names the query and the photo


# ---- batches ----


@dataclass(frozen=True)
class ScoringBatch:
    """Candidates to score together, and what was lost since the batch before."""

    slots: list[tuple[int, int]]  # (query, candidate) that suffix i of `packed` belongs to
    packed: PackedBatch | None  # None when nothing but problems was left
    problems: list[Problem]


class QueryBatches(IterableDataset):
    """The candidates of ``queries`` (position -> query) as batches, in the order of each worker's queries.

    A photo that cannot be read becomes a ``Problem`` and costs its candidate; a query photo costs its query.
    """

    def __init__(
        self,
        queries: Mapping[int, Query],
        packer: Packer,
        query_photos: ImageStore,
        gallery_photos: ImageStore,
        max_tokens: int,
    ):
        self.queries = queries
        self.packer = packer
        self.query_photos = query_photos
        self.gallery_photos = gallery_photos
        self.max_tokens = max_tokens

    def __iter__(self) -> Iterator[ScoringBatch]:
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        slots: deque[tuple[int, int]] = deque()
        photos: dict[Hashable, EncodedImage] = {}
        problems: list[Problem] = []
        newest: dict[Hashable, EncodedImage] = {}

        def tokenized() -> Iterator[TokenizedQuery]:
            nonlocal newest
            for position in sorted(self.queries)[number::count]:
                query, kept, newest, found = self._read(position, self.queries[position])
                problems.extend(found)
                if query is not None:
                    slots.extend((position, candidate) for candidate in kept)
                    photos.update(newest)
                    yield self.packer.tokenize(query, newest)

        for chunk in chunks(tokenized(), self.max_tokens):
            packed = self.packer.collate(chunk, photos)
            filled = [slots.popleft() for _ in range(len(packed.query_index))]
            yield ScoringBatch(filled, packed, problems.copy())
            problems.clear()
            # Chunks look one query ahead: what is still to come shows only the photos read last.
            photos.clear()
            photos.update(newest)
        if problems:
            yield ScoringBatch([], None, problems)

    def _read(
        self, position: int, query: Query
    ) -> tuple[Query | None, list[int], dict[Hashable, EncodedImage], list[Problem]]:
        """The query with the candidates that can be shown, their positions, encoded photos, and problems."""
        # A gallery photo may have the id of a query photo.
        shown = f"query photo {query.image}"
        kept, photos, problems = [], {}, []
        try:
            photos[shown] = self._encode(query.image, self.query_photos)
        except ImageError as error:
            return None, [], {}, [Problem(position, None, f"{query.image}: query left out: {error}")]
        for number, candidate in enumerate(query.candidates):
            try:
                if candidate.image is not None and candidate.image not in photos:
                    photos[candidate.image] = self._encode(candidate.image, self.gallery_photos)
                kept.append(number)
            except ImageError as error:
                message = f"{query.image}: candidate {number} left out: {error}"
                problems.append(Problem(position, number, message))
        if not kept:
            message = f"{query.image}: query left out: none of its candidates has a readable photo"
            return None, [], {}, [*problems, Problem(position, None, message)]
        candidates = tuple(query.candidates[number] for number in kept)
        return replace(query, image=shown, candidates=candidates), kept, photos, problems

    def _encode(self, image_id: str, photos: ImageStore) -> EncodedImage:
        photo = photos.open(image_id)
        try:
            return self.packer.encode(photo)
        except ValueError as error:  # a shape that the model cannot be shown
            raise ImageError(f"{image_id}: {error}") from error


# ---- the log of finished queries ----


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
        return hashlib.sha256(f"{self.fingerprint} {query}".encode()).hexdigest()

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


# ---- several processes ----


@dataclass(frozen=True)
class Processes:
    """The processes that share the work, as a launcher announces them in the environment."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on this machine

    @classmethod
    def from_environment(cls) -> "Processes":
        rank, count, local = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        return cls(rank, count, local)

    def gather(self, value: Any) -> list[Any] | None:
        """The picklable ``value`` of every process, by rank, in process 0; None in the others."""
        if self.count == 1:
            return [value]
        # A process may finish long before the others: the usual half hour of patience is too little.
        dist.init_process_group("gloo", timeout=timedelta(days=7))
        values = [None] * self.count if self.rank == 0 else None
        dist.gather_object(value, values)
        dist.destroy_process_group()
        return values


# ---- scoring ----


def score_queries(
    ranker: GeoRanker,
    queries: Mapping[int, Query],
    query_photos: ImageStore,
    gallery_photos: ImageStore,
    log: RewardLog,
    *,
    max_tokens: int,
    carrier: str = "cache",
    num_workers: int = 0,
    progress: bool = True,
) -> tuple[dict[int, np.ndarray], list[Problem]]:
    """Rewards (candidates,) float32 by position of the query, and what could not be scored.

    Args:
        queries: position -> query; photos of queries and candidates are ids of the two stores.
        log: where queries that are done are appended.
        max_tokens: size of a batch, see ``utils.packing.chunks``.
        carrier: how the ranker reads a batch.
        num_workers: processes that read photos ahead; 0 reads them in this one.

    A reward of a candidate that could not be scored is NaN; queries that could not be scored are absent.
    """
    batches = DataLoader(
        QueryBatches(queries, ranker.packer, query_photos, gallery_photos, max_tokens),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_it_is,
    )
    device = ranker.backbone.device
    rewards = {position: np.full(len(query.candidates), np.nan, np.float32) for position, query in queries.items()}
    missing = {position: len(query.candidates) for position, query in queries.items()}
    problems: list[Problem] = []
    scored: dict[int, np.ndarray] = {}
    with tqdm(total=len(queries), unit="query", desc="scoring", disable=not progress) as bar:
        for batch in batches:
            problems += batch.problems
            for problem in batch.problems:
                if problem.candidate is None:
                    bar.update()
                else:
                    missing[problem.query] -= 1
            if batch.packed is None:
                continue
            with torch.inference_mode():
                values = ranker(batch.packed.to(device, non_blocking=True), carrier=carrier).cpu().numpy()
            for (position, candidate), value in zip(batch.slots, values, strict=True):
                rewards[position][candidate] = value
                missing[position] -= 1
                if not np.isfinite(value):
                    message = f"{queries[position].image}: candidate {candidate} left out: its reward is {value}"
                    problems.append(Problem(position, candidate, message))
                    rewards[position][candidate] = np.nan
            for position in dict.fromkeys(position for position, _ in batch.slots):
                if missing[position] == 0:
                    bar.update()
                    if np.isfinite(rewards[position]).all():
                        log.append(queries[position], rewards[position])
                    if np.isfinite(rewards[position]).any():
                        scored[position] = rewards[position]
    return scored, problems


def _as_it_is(batch: ScoringBatch) -> ScoringBatch:
    return batch
