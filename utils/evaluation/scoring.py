"""Rewards of a whole benchmark: photos decoded ahead, batches of bounded size, resumable, many processes.

Data workers open and encode the photos and pack batches while the model runs. Every query that is done goes into a log
(``reward_log.py``), so that an interrupted run goes on at the next query. Several processes take one query after the
other from the same list (``utils/jobs/processes.py``).
"""

from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from utils.candidates import Query
from utils.evaluation.results import Problem, Results, shown_candidates
from utils.evaluation.reward_log import RewardLog
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes, SharedWork
from utils.jobs.progress import progress_bar
from utils.model.batch import EncodedImage, PackedBatch, TokenizedQuery
from utils.model.features import EncodedPhotos, FeatureCache
from utils.model.halving import score_in_halves
from utils.model.packing import Packer, chunks
from utils.model.sharing import Sharing

Photos = EncodedPhotos | FeatureCache

# ---- batches ----


@dataclass(frozen=True)
class ScoringBatch:
    """Candidates to score together, and what was lost since the batch before."""

    slots: list[tuple[int, int]]  # (query, candidate) that suffix i of `packed` belongs to
    packed: PackedBatch | None  # None when nothing but problems was left
    problems: list[Problem]

    def pin_memory(self) -> "ScoringBatch":
        """Called by the data loader."""
        return self if self.packed is None else replace(self, packed=self.packed.pin_memory())


class QueryBatches(IterableDataset):
    """The candidates of ``queries`` (position -> query) as batches, as far as ``work`` hands out their positions.

    A photo that cannot be read becomes a ``Problem`` and costs its candidate; a query photo costs its query.
    """

    def __init__(
        self,
        queries: Mapping[int, Query],
        work: SharedWork[int],
        packer: Packer,
        query_photos: Photos,
        gallery_photos: Photos,
        max_tokens: int,
    ):
        self.queries = queries
        self.work = work
        self.packer = packer
        self.query_photos = query_photos
        self.gallery_photos = gallery_photos
        self.max_tokens = max_tokens

    def __iter__(self) -> Iterator[ScoringBatch]:
        slots: deque[tuple[int, int]] = deque()
        photos: dict[Hashable, EncodedImage] = {}
        problems: list[Problem] = []
        newest: dict[Hashable, EncodedImage] = {}

        def tokenized() -> Iterator[TokenizedQuery]:
            nonlocal newest
            for position in self.work:
                if position not in self.queries:
                    continue
                query, kept, newest, found = shown_candidates(
                    position, self.queries[position], self.query_photos.__getitem__, self.gallery_photos.__getitem__
                )
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


# ---- scoring ----


def score_benchmark(
    ranker: GeoRanker,
    queries: Mapping[int, Query],
    query_photos: Photos,
    gallery_photos: Photos,
    log: RewardLog,
    *,
    max_tokens: int,
    sharing: Sharing = "prefix_cache",
    num_workers: int = 0,
    work: SharedWork[int] | None = None,
) -> tuple[dict[int, np.ndarray], list[Problem]]:
    """Rewards (candidates,) float32 by position of the query, and what could not be scored.

    Args:
        queries: position -> query; photos of queries and candidates are ids of the two kinds of photos.
        log: where queries that are done are appended.
        max_tokens: size of a batch, see ``utils.model.packing.chunks``; what does not fit into memory is halved.
        sharing: how the candidates of a query share its prefix.
        num_workers: processes that read photos ahead; 0 reads them in this one.
        work: positions that this process shares with others, of which it takes those in ``queries``;
            default: it takes all of ``queries``.

    A reward of a candidate that could not be scored is NaN; queries that could not be scored are absent.
    """
    if work is None:
        work = SharedWork(sorted(queries), Processes(), "queries")
    device = ranker.backbone.device
    batches = DataLoader(
        QueryBatches(queries, work, ranker.packer, query_photos, gallery_photos, max_tokens),
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
        in_order=False,  # a worker with slow photos does not hold up the others
    )
    merge_size = ranker.packer.image_processor.merge_size

    def rewards_of(batch: PackedBatch) -> torch.Tensor:
        return ranker(batch.to(device, non_blocking=True), sharing=sharing)

    results = Results(queries, log)
    with progress_bar(total=len(queries), unit="query", desc="scoring") as bar:
        for batch in batches:
            before = len(results.finished)
            for problem in batch.problems:
                results.lose(problem)
            if batch.packed is not None:
                with torch.inference_mode():
                    rewards, too_large = score_in_halves(rewards_of, batch.packed, merge_size)
                reasons = {
                    number: f"even alone it does not fit into memory{ranker.remedy(batch.packed, number)}"
                    for number in too_large
                }
                for number, (slot, reward) in enumerate(zip(batch.slots, rewards.tolist(), strict=True)):
                    results.take(*slot, reward, reasons.get(number))
            if len(results.finished) > before:
                bar.update(work.finish(len(results.finished) - before) - bar.n)
    return results.scored, results.problems


def _as_it_is(batch: ScoringBatch) -> ScoringBatch:
    return batch
