"""A benchmark scored by several processes, without what an earlier run has scored."""

import functools
import logging
from collections.abc import Callable, Sequence

import numpy as np

from utils.candidates import Query
from utils.evaluation.cases import Case
from utils.evaluation.gathered import gathered_cases
from utils.evaluation.photos_of_queries import photos_of_queries
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import Problem, score_benchmark
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes, SharedWork
from utils.model.sharing import Sharing
from utils.photos.store import ImageStore

logger = logging.getLogger(__name__)


def score_missing(
    queries: Sequence[Query],
    log: RewardLog,
    load: Callable[[], GeoRanker],
    photos: ImageStore,
    gallery: ImageStore,
    processes: Processes,
    *,
    feature_cache: str | None,
    max_tokens: int,
    sharing: Sharing,
    num_workers: int,
) -> tuple[list[Case], list[str]] | None:
    """Score what ``log`` does not know, together with the other ``processes``.

    Args:
        load: the ranker, asked for only where something is missing.
        photos, gallery: those of the queries and of their candidates.
        feature_cache: of ``photos_of_queries``; the other settings are of ``score_benchmark``.

    Returns:
        The cases in the order of the queries, and what could not be scored; None in all processes but the one that
        concludes. What lost processes had taken is scored by that one.
    """
    loaded = functools.cache(load)
    logged: dict[int, np.ndarray] | None = None

    def score(processes: Processes) -> tuple[dict[int, np.ndarray], list[Problem]]:
        nonlocal logged
        if logged is not None:  # again, since others were lost: by what they had logged
            log.read()
        logged = log.known(queries)
        missing = {position: query for position, query in enumerate(queries) if position not in logged}
        if not missing:
            return {}, []
        if logged:
            logger.info("%d of %d queries are scored already", len(logged), len(queries))
        ranker = loaded()
        shown = [*missing.values()]
        return score_benchmark(
            ranker,
            missing,
            *photos_of_queries(feature_cache, ranker, shown, photos, gallery, processes, num_workers),
            log,
            max_tokens=max_tokens,
            sharing=sharing,
            num_workers=num_workers,
            work=SharedWork(range(len(queries)), processes, "queries"),
        )

    shares = processes.together(score)
    return None if shares is None else gathered_cases(queries, logged, shares)
