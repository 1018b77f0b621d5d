"""A benchmark scored by several processes, without what an earlier run has scored."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from utils.candidates import Query
from utils.evaluation.cases import Case
from utils.evaluation.gathered import gathered_cases
from utils.evaluation.results import Problem
from utils.evaluation.reward_log import RewardLog
from utils.jobs.processes import Processes

logger = logging.getLogger(__name__)


def score_missing(
    queries: Sequence[Query],
    log: RewardLog,
    processes: Processes,
    score: Callable[[Mapping[int, Query], Processes], tuple[dict[int, np.ndarray], list[Problem]]],
) -> tuple[list[Case], list[str]] | None:
    """Score what ``log`` does not know, together with the other ``processes``.

    Args:
        score: the queries that are missing, by position, and the processes that share them -> rewards by position, and
            what could not be scored; called only where something is missing, and again where processes were lost.

    Returns:
        The cases in the order of the queries, and what could not be scored; None in all processes but the one that
        concludes. What lost processes had taken is scored by that one.
    """
    logged: dict[int, np.ndarray] | None = None

    def score_share(processes: Processes) -> tuple[dict[int, np.ndarray], list[Problem]]:
        nonlocal logged
        if logged is not None:  # again, since others were lost: by what they had logged
            log.read()
        logged = log.known(queries)
        missing = {position: query for position, query in enumerate(queries) if position not in logged}
        if not missing:
            return {}, []
        if logged:
            logger.info("%d of %d queries are scored already", len(logged), len(queries))
        return score(missing, processes)

    shares = processes.together(score_share)
    return None if shares is None else gathered_cases(queries, logged, shares)
