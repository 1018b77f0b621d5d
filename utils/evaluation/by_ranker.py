"""Rewards of what is missing of a benchmark from a ranker of this project, loaded for that."""

from collections.abc import Callable, Mapping

import numpy as np

from utils.candidates import Query
from utils.evaluation.photos_of_queries import photos_of_queries
from utils.evaluation.results import Problem
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import score_benchmark
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes, SharedWork
from utils.model.sharing import Sharing
from utils.photos.store import ImageStore


def score_by_ranker(
    load: Callable[[], GeoRanker],
    queries: Mapping[int, Query],
    processes: Processes,
    photos: ImageStore,
    gallery: ImageStore,
    log: RewardLog,
    *,
    total: int,
    feature_cache: str | None,
    max_tokens: int,
    sharing: Sharing,
    num_workers: int,
) -> tuple[dict[int, np.ndarray], list[Problem]]:
    """Rewards by position of the query, and what could not be scored, as ``score_benchmark`` gives them.

    Args:
        load: the ranker.
        queries: position -> query, of the ``total`` that all ``processes`` share.
        photos, gallery: those of the queries and of their candidates.
        feature_cache: of ``photos_of_queries``; the other settings are of ``score_benchmark``.
    """
    ranker = load()
    return score_benchmark(
        ranker,
        queries,
        *photos_of_queries(feature_cache, ranker, [*queries.values()], photos, gallery, processes, num_workers),
        log,
        max_tokens=max_tokens,
        sharing=sharing,
        num_workers=num_workers,
        work=SharedWork(range(total), processes, "queries"),
    )
