"""A query whose truth is known, with what is computed of it once, and how far answers are from the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from utils.candidates import Query
from utils.decoding import Evidence
from utils.geography.geodesy import geodesic_km


@dataclass(frozen=True)
class Case:
    """A query whose truth is known; rewards (n,) of its n >= 1 candidates where a model scored them."""

    query: Query
    rewards: np.ndarray | None = None

    @cached_property
    def points(self) -> np.ndarray:
        """(n, 2) degrees"""
        return np.array([(candidate.latitude, candidate.longitude) for candidate in self.query.candidates])

    @cached_property
    def distances(self) -> np.ndarray:
        """(n,) geodesic km from the truth"""
        return geodesic_km(self.query.latitude, self.query.longitude, *self.points.T)

    @cached_property
    def similarities(self) -> np.ndarray:
        """(n,) cosine of the full embeddings, NaN where unknown"""
        return np.array([candidate.similarity for candidate in self.query.candidates], dtype=np.float64)

    @cached_property
    def geoclip(self) -> np.ndarray:
        """(n,) GeoCLIP's cosine of photo and place, NaN where unknown; no ``evidence``: decoders fuse another cosine"""
        return np.array([candidate.geoclip for candidate in self.query.candidates], dtype=np.float64)

    @cached_property
    def ranks(self) -> np.ndarray:
        """(n,) retrieval rank among the candidates that are no guesses, 0 the best; NaN for a guess"""
        guess = np.array([candidate.source == "generation" for candidate in self.query.candidates])
        return np.where(guess, np.nan, np.cumsum(~guess) - 1.0)

    @cached_property
    def counts(self) -> tuple[int, int]:
        """How many of the candidates are retrieved and how many are guesses."""
        guesses = int(np.isnan(self.ranks).sum())
        return len(self.ranks) - guesses, guesses

    @cached_property
    def evidence(self) -> Evidence:
        """What a decoder may know: all but the truth."""
        return Evidence(self.points, self.rewards, self.similarities, self.ranks)


def picked_errors(cases: Sequence[Case], picks: np.ndarray) -> np.ndarray:
    """(cases,) km between the truth and the picked candidate."""
    return np.array([case.distances[pick] for case, pick in zip(cases, picks, strict=True)])
