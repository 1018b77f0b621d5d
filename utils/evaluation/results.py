"""Rewards of a benchmark as they come, whoever computes them, and what could not be scored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from utils.candidates import Query
from utils.evaluation.reward_log import RewardLog
from utils.model.readable import readable

Photo = TypeVar("Photo")


@dataclass(frozen=True)
class Problem:
    """Something that could not be scored: a candidate of a query, or the query as a whole."""

    query: int  # position of the query
    candidate: int | None  # position of the candidate; None: the whole query
    message: str  # names the query and the photo


def shown_candidates(
    position: int,
    query: Query,
    query_photo: Callable[[str], Photo],
    candidate_photo: Callable[[str], Photo],
) -> tuple[Query | None, list[int], dict[str, Photo], list[Problem]]:
    """What of the query at ``position`` can be scored.

    Args:
        query_photo, candidate_photo: id -> photo, as whoever scores takes it; they raise ``ImageError``.

    Returns:
        The query with the candidates that can be shown, None where there are none; their positions; the photos by the
        ids that they have in this query; and what is lost with those that cannot be read.
    """
    # A gallery photo may have the id of a query photo.
    shown, photos, unreadable = readable(
        replace(query, image=f"query photo {query.image}"), candidate_photo, lambda _: query_photo(query.image)
    )
    problems = []
    for number, error in unreadable:
        lost = "query" if number is None else f"candidate {number}"
        problems.append(Problem(position, number, f"{query.image}: {lost} left out: {error}"))
    if not shown.candidates:
        if all(problem.candidate is not None for problem in problems):
            message = f"{query.image}: query left out: none of its candidates has a readable photo"
            problems.append(Problem(position, None, message))
        return None, [], {}, problems
    gone = {problem.candidate for problem in problems}
    kept = [number for number in range(len(query.candidates)) if number not in gone]
    return shown, kept, photos, problems


class Results:
    """Rewards as they come, candidate by candidate; a query is finished when none of its candidates is open."""

    def __init__(self, queries: Mapping[int, Query], log: RewardLog):
        self.queries = queries
        self.log = log
        self.scored: dict[int, np.ndarray] = {}  # position of a finished query -> rewards, NaN for lost candidates
        self.problems: list[Problem] = []
        self.finished: set[int] = set()
        self._rewards: dict[int, np.ndarray] = {}  # of the others
        self._open: dict[int, int] = {}  # how many of their candidates are open

    def lose(self, problem: Problem) -> None:
        """Note what could not be scored."""
        self.problems.append(problem)
        if problem.candidate is None:
            self.finished.add(problem.query)
        else:
            self._settle(problem.query, problem.candidate, np.nan)

    def take(self, position: int, candidate: int, reward: float, why_none: str | None) -> None:
        """Note a reward; where there is none, ``why_none`` says why."""
        if why_none is None and abs(reward) <= np.finfo(np.float32).max:
            self._settle(position, candidate, reward)
        else:
            why = why_none or f"its reward is {reward}"
            self.lose(
                Problem(position, candidate, f"{self.queries[position].image}: candidate {candidate} left out: {why}")
            )

    def _settle(self, position: int, candidate: int, reward: float) -> None:
        if position not in self._open:
            self._open[position] = len(self.queries[position].candidates)
            self._rewards[position] = np.full(self._open[position], np.nan, np.float32)
        self._rewards[position][candidate] = reward
        self._open[position] -= 1
        if self._open[position] == 0:
            del self._open[position]
            rewards = self._rewards.pop(position)
            self.finished.add(position)
            if np.isfinite(rewards).all():
                self.log.append(self.queries[position], rewards)
            if np.isfinite(rewards).any():
                self.scored[position] = rewards
