"""Names for candidates that have none: those of the nearest populated place."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from utils.candidates import Candidate, Query, prompt_texts
from utils.geography.gazetteer import TEXT_COLUMNS, Gazetteer
from utils.tables.candidate_table import CandidateRow

NO_NAMES = ("",) * len(TEXT_COLUMNS)


def fill_names(rows: Sequence[CandidateRow]) -> tuple[list[CandidateRow], int]:
    """``rows`` with names for the candidates that have none, and how many these were.

    The names are those of the nearest populated place (``utils/geography/gazetteer.py``), not of the area a point lies
    in. A candidate that has any name the prompt mentions keeps its names: two sources may not agree.
    """
    texts = [[list(names) for names in row.texts or [NO_NAMES] * len(row.gps)] for row in rows]
    nameless = [
        (number, i)
        for number, names in enumerate(texts)
        for i, place in enumerate(names)
        if not prompt_texts(dict(zip(TEXT_COLUMNS, place, strict=True)))
    ]
    if nameless:
        points = np.array([rows[number].gps[i] for number, i in nameless])
        found = Gazetteer().lookup(*points.T)[list(TEXT_COLUMNS)].to_numpy(object).tolist()
        for (number, i), place in zip(nameless, found, strict=True):
            texts[number][i] = place
    return [replace(row, texts=names) for row, names in zip(rows, texts, strict=True)], len(nameless)


def name_generated(queries: Sequence[Query]) -> list[Query]:
    """``queries`` with place names for the generated candidates, of the nearest populated place each."""

    def is_nameless(candidate: Candidate) -> bool:
        return candidate.source == "generation" and not candidate.texts

    nameless = [candidate for query in queries for candidate in query.candidates if is_nameless(candidate)]
    if not nameless:
        return list(queries)
    points = np.array([(candidate.latitude, candidate.longitude) for candidate in nameless])
    found = iter(Gazetteer().lookup(*points.T).to_dict("records"))
    return [
        replace(
            query,
            candidates=tuple(
                replace(candidate, texts=prompt_texts(next(found))) if is_nameless(candidate) else candidate
                for candidate in query.candidates
            ),
        )
        for query in queries
    ]
