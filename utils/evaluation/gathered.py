"""What several processes scored, put together as the cases of one report."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from utils.candidates import Query
from utils.evaluation.cases import Case
from utils.evaluation.results import Problem


def gathered_cases(
    queries: Sequence[Query],
    logged: Mapping[int, np.ndarray],
    shares: Sequence[tuple[Mapping[int, np.ndarray], Sequence[Problem]]],
) -> tuple[list[Case], list[str]]:
    """The cases of all processes, in the order of the queries, and what could not be scored.

    Args:
        logged: position of a query -> rewards (candidates,) that this process found in the log.
        shares: for each process the same of those that it scored itself, and what it could not score.

    Raises:
        ValueError: when another process found rewards that this one cannot see.
    """
    rewards = dict(logged)
    for share, _ in shares:
        rewards |= share
    lost = sorted((problem for _, part in shares for problem in part), key=lambda problem: problem.query)
    unknown = set(range(len(queries))) - rewards.keys() - {problem.query for problem in lost}
    if unknown:
        raise ValueError(
            f"{len(unknown)} queries are in another machine's log: --output_dir must be a folder that all share"
        )
    cases = [scored_case(queries[position], rewards[position]) for position in sorted(rewards)]
    return cases, [problem.message for problem in lost]


def scored_case(query: Query, rewards: np.ndarray) -> Case:
    """The query without the candidates that could not be scored (NaN), for every ranker alike."""
    kept = np.flatnonzero(~np.isnan(rewards))
    candidates = tuple(query.candidates[number] for number in kept)
    return Case(replace(query, candidates=candidates), rewards[kept])
