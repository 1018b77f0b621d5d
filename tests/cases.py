"""Queries with invented candidates, rewards and similarities."""

import numpy as np

from utils.candidates import Candidate, Query
from utils.evaluation.cases import Case


def random_cases(count: int, seed: int = 0, rewards: bool = True, similarities: bool = True) -> list[Case]:
    """1 to 6 retrieved candidates each, and up to 2 generated ones, which have no similarity."""
    generator = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        truth = generator.uniform([-60, -180], [60, 180])
        retrieved = int(generator.integers(1, 7))
        candidates = []
        for k in range(retrieved + int(generator.integers(0, 3))):
            point = np.clip(truth + generator.normal(0, 10 ** generator.uniform(-2, 1.3), 2), [-89, -180], [89, 180])
            candidates.append(
                Candidate(
                    *map(float, point),
                    source="retrieval" if k < retrieved else "generation",
                    similarity=float(generator.uniform(-1, 1)) if similarities and k < retrieved else None,
                )
            )
        query = Query(f"q{number}.jpg", tuple(candidates), (), *map(float, truth))
        cases.append(Case(query, generator.normal(size=len(candidates)) if rewards else None))
    return cases
