"""A benchmark scored by several processes, without what an earlier run has scored."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from utils.candidates import Query
from utils.evaluation.cases import Case
from utils.evaluation.gathered import gather_cases
from utils.evaluation.results import Problem
from utils.evaluation.reward_log import RewardLog
from utils.jobs.processes import Processes

logger = logging.getLogger(__name__)


def score_missing(
    queries: Sequence[Query],
    log: RewardLog,
    processes: Processes,
    score: Callable[[Mapping[int, Query]], tuple[dict[int, np.ndarray], list[Problem]]],
) -> tuple[list[Case], list[str]] | None:
    """Score what ``log`` does not know, together with the other ``processes``.

    Args:
        score: the queries that are missing, by position -> rewards by position, and what could not be scored; called
            only where something is missing.

    Returns:
        The cases in the order of the queries, and what could not be scored; None in all processes but the first.
    """
    logged = log.known(queries)
    missing = {position: query for position, query in enumerate(queries) if position not in logged}
    if logged and missing:
        logger.info("%d of %d queries are scored already", len(logged), len(queries))
    scored, problems = score(missing) if missing else ({}, [])
    return gather_cases(processes, queries, logged, scored, problems)
