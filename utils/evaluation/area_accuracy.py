"""How often an answer lies in the area of the truth, by the labels of OpenStreetView-5M."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from utils.evaluation.cases import Case
from utils.geography.osv5m_areas import LEVELS, areas_of


class AreaAccuracy(TypedDict):
    """Of the areas of one level."""

    num_queries: int  # whose truth has a label
    accuracy: dict[str, float]  # percent of them, by ranker


def area_accuracy(
    cases: Sequence[Case], picks: Mapping[str, np.ndarray], areas: Mapping[str, Sequence[str]]
) -> dict[str, AreaAccuracy]:
    """By level, for the levels that any truth has a label of.

    Args:
        cases: queries whose truth is known.
        picks: what each ranker picks (``ranker_picks``).
        areas: labels of the truths by photo, in the order of LEVELS (``utils/tables/osv5m.py``); a query without a
            label of a level does not count there.
    """
    truths = np.array([areas.get(case.query.image, ("",) * len(LEVELS)) for case in cases], dtype=object)
    labelled = truths != ""  # (cases, levels)
    right = {
        name: truths == areas_of(np.array([case.points[pick] for case, pick in zip(cases, indices, strict=True)]))
        for name, indices in picks.items()
    }
    return {
        level: AreaAccuracy(
            num_queries=int(known.sum()),
            accuracy={name: float(100 * hits[known, column].mean()) for name, hits in right.items()},
        )
        for column, (level, known) in enumerate(zip(LEVELS, labelled.T, strict=True))
        if known.any()
    }
