"""The same figures without some of the queries: those that, by a table, the benchmark shares with the gallery."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.evaluation.cases import Case
from utils.photos.formats import without_extension


@dataclass(frozen=True)
class LeftOut:
    """Which of some cases a table leaves out."""

    table: str
    cases: list[Case]  # that are kept
    places: np.ndarray  # (kept,) theirs among all
    reasons: dict[str, int]  # reason -> queries left out for it; one may have several
    count: int  # queries left out

    @classmethod
    def of(cls, path: str | os.PathLike, known: Mapping[str, Sequence[str]], cases: Sequence[Case]) -> "LeftOut":
        """By what ``read_reasons`` found in a table. Its queries that are not among the cases count for nothing.

        Raises ``ValueError``, naming the file, where it names none of the cases, or all of them.
        """
        found = [known.get(without_extension(case.query.image)) for case in cases]
        places = np.array([place for place, reasons in enumerate(found) if reasons is None], dtype=np.int64)
        if len(places) == len(cases):
            raise ValueError(f"{path}: none of its {len(known)} queries is evaluated: is it of another benchmark?")
        if not len(places):
            raise ValueError(f"{path}: it leaves out all {len(cases)} queries")
        counts = Counter(reason for reasons in found for reason in reasons or ())
        kept = [cases[place] for place in places]
        return cls(str(path), kept, places, dict(counts.most_common()), len(cases) - len(kept))

    def kept(self, picks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Those of ``picks`` (cases,) of each ranker that are of cases that are kept."""
        return {name: values[self.places] for name, values in picks.items()}

    def about(self) -> dict[str, Any]:
        """For metrics.json, beside the report on the cases that are kept."""
        return {"table": self.table, "left_out": self.count, "reasons": self.reasons}
