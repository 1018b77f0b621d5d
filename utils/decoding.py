"""From what is known of one query's candidates to one place.

``Evidence`` holds what is known, a ``Decoder`` decides. Its scores (n,) become shares by a softmax at a
temperature; temperature and the weight of retrieval similarity are fitted on validation queries
(``utils/evaluation/fit.py``). ``METHODS`` are the decoders of rewards that users choose by name,
``WITHOUT_RANKER`` those that need no rewards. Points are (n, 2) [latitude, longitude] in degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from utils.geography.geodesy import THRESHOLDS_KM, distance_matrix_km, haversine_km

CONSENSUS_SCALE_KM = 200.0


@dataclass(frozen=True)
class Evidence:
    """What is known of the n candidates of one query; ``ValueError`` where the arrays differ in length."""

    points: ArrayLike  # (n, 2) degrees
    rewards: ArrayLike | None = None  # (n,); None where no ranker scored them
    similarities: ArrayLike | None = None  # (n,) cosine of the full embeddings, NaN where unknown; None: all unknown
    ranks: ArrayLike | None = None  # (n,) retrieval rank, 0 the most similar photo's, NaN for a guess; None: unknown

    def __post_init__(self) -> None:
        for name in ("rewards", "similarities", "ranks"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self.points):
                raise ValueError(f"{len(self.points)} points, but {len(values)} {name}")

    @property
    def has_similarity(self) -> bool:
        """Whether the similarity of any candidate is known."""
        return self.similarities is not None and not np.isnan(np.asarray(self.similarities, dtype=np.float64)).all()


@dataclass(frozen=True)
class Decoder:
    """A way from evidence to one candidate, with its hyper-parameters.

    Scores are ``reward_weight * reward + similarity_weight * similarity`` (a candidate without similarity: see
    ``fuse``) plus the logarithm of what a candidate weighs by its origin: ``guess_weight`` for a guess,
    ``exp(-rank_decay * r)`` for the photo retrieved at rank r = 0, 1, ... Shares are their softmax. By default
    all origins weigh the same, and without the other two weights all candidates have equal shares.
    """

    reward_weight: float = 1.0
    similarity_weight: float = 0.0
    guess_weight: float = 1.0  # positive
    rank_decay: float = 0.0
    temperature: float = 1.0
    scale_km: float | None = None  # of the consensus; None: the highest score
    power: float = 1.0  # of the shares as weights of the consensus

    def scores(self, evidence: Evidence) -> np.ndarray:
        """(n,); ``ValueError`` where rewards or origins have a weight and are unknown."""
        scores = np.zeros(len(evidence.points))
        if self.reward_weight:
            if evidence.rewards is None:
                raise ValueError("the candidates have no rewards to decode")
            scores = self.reward_weight * np.asarray(evidence.rewards, dtype=np.float64)
        if self.similarity_weight and evidence.similarities is not None:
            scores = fuse(scores, evidence.similarities, self.similarity_weight)
        if self.guess_weight != 1 or self.rank_decay:
            if evidence.ranks is None:
                raise ValueError("the candidates have no retrieval ranks to weigh them by")
            ranks = np.asarray(evidence.ranks, dtype=np.float64)
            scores = scores + np.where(np.isnan(ranks), np.log(self.guess_weight), -self.rank_decay * ranks)
        return scores

    def pick(self, evidence: Evidence) -> int:
        """Index of the candidate that is the answer: the one with the largest support."""
        return argmax(self.support(evidence))

    def support(self, evidence: Evidence) -> np.ndarray:
        """(n,) what the answer has most of: its score, or for a consensus the weights of the candidates around it."""
        scores = self.scores(evidence)
        if self.scale_km is None:
            return scores
        return agreement(evidence.points, shares(scores, self.temperature / self.power), self.scale_km)

    def shares(self, evidence: Evidence) -> np.ndarray:
        """(n,) of the candidates, together 1. No probabilities: the truth may lie where no candidate does."""
        return shares(self.scores(evidence), self.temperature)

    def mass_near(self, evidence: Evidence, index: int, radii_km: Sequence[int] = THRESHOLDS_KM) -> dict[int, float]:
        """Summed shares (0 to 1) of the candidates closer than each radius in km to candidate ``index``."""
        return mass_near(evidence.points, self.shares(evidence), index, radii_km)


@dataclass(frozen=True)
class Method:
    """A decoding of rewards that users choose by name; temperature and similarity weight are the adapter's."""

    ranker: str  # what a report calls it
    words: str  # what readers call that by which it decides
    fused: bool  # whether it adds similarities to the rewards
    scale_km: float | None  # as in ``Decoder``

    def decoder(self, *, temperature: float = 1.0, similarity_weight: float = 0.0) -> Decoder:
        """A method that is not fused does without the weight."""
        weight = similarity_weight if self.fused else 0.0
        return Decoder(similarity_weight=weight, temperature=temperature, scale_km=self.scale_km)


METHODS = {
    "argmax": Method("model", "the highest reward", fused=False, scale_km=None),  # as published
    "consensus": Method("model_consensus", "the agreement of the candidates", fused=False, scale_km=CONSENSUS_SCALE_KM),
    "fused": Method("model_fused", "the highest reward with similarity", fused=True, scale_km=None),
    "fused_consensus": Method(
        "model_fused_consensus",
        "the agreement of the candidates, with similarity",
        fused=True,
        scale_km=CONSENSUS_SCALE_KM,
    ),
}

# Rankers of a report that look at no photo. The weights of ``consensus`` are fitted on real photos by
# ``python -m tools.fit_consensus``, see docs/im2gps3k.md.
WITHOUT_RANKER = {
    "consensus": Decoder(reward_weight=0.0, guess_weight=2.5, rank_decay=0.15, scale_km=200.0),
    "consensus_equal": Decoder(reward_weight=0.0, scale_km=CONSENSUS_SCALE_KM),
}


def decode(
    evidence: Evidence, method: str = "argmax", *, temperature: float = 1.0, similarity_weight: float = 0.0
) -> int:
    """Index of the candidate that one of ``METHODS`` picks.

    Raises ``ValueError`` where the method is fused and no candidate has a similarity.

    >>> points, rewards = [(46.2, 7.1), (44.2, 6.7), (44.1, 6.9), (-33.9, 151.2)], [-4.5, -5.0, -5.0, -4.4]
    >>> evidence = Evidence(points, rewards)
    >>> decode(evidence), decode(evidence, "consensus")
    (3, 1)
    """
    if METHODS[method].fused and not evidence.has_similarity:
        raise ValueError(f"no candidate has a similarity: {method} has nothing to fuse rewards with")
    return METHODS[method].decoder(temperature=temperature, similarity_weight=similarity_weight).pick(evidence)


def shares(scores: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    """``softmax(scores / temperature)``, (n,) or over the last axis of more: the share of each candidate."""
    return softmax(np.asarray(scores, dtype=np.float64) / temperature, axis=-1)


def argmax(rewards: ArrayLike) -> int:
    """Index of the highest reward, as published; the first one where several are highest."""
    return int(np.argmax(rewards))


def consensus(points: ArrayLike, weights: ArrayLike, scale_km: float = CONSENSUS_SCALE_KM) -> int:
    """Index of the candidate with the largest ``agreement``.

    Candidates that agree on a region add up. With shares as weights this decodes a ranker; with equal
    weights, or weights by origin, it is a baseline that needs none.
    """
    return argmax(agreement(points, weights, scale_km))


def agreement(points: ArrayLike, weights: ArrayLike, scale_km: float = CONSENSUS_SCALE_KM) -> np.ndarray:
    """``sum_j weights_j exp(-d_ij / scale_km)`` of each candidate i, (n,)."""
    closeness = np.exp(-distance_matrix_km(points) / scale_km)  # (n, n)
    return closeness @ np.asarray(weights, dtype=np.float64)


def mass_near(
    points: ArrayLike, weights: ArrayLike, index: int, radii_km: Sequence[int] = THRESHOLDS_KM
) -> dict[int, float]:
    """Summed shares (0 to 1) of the candidates closer than each radius in km to candidate ``index``."""
    points, weights = np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    distances = haversine_km(*points[index], *points.T)
    # Rounding may carry the sum of all shares past 1.
    return {radius: min(float(weights[distances < radius].sum()), 1.0) for radius in radii_km}


def fuse(rewards: ArrayLike, similarities: ArrayLike, weight: float) -> np.ndarray:
    """``rewards + weight * similarities``, (n,); similarities are NaN for candidates that have none.

    A candidate without a similarity, such as a generated one, gets the mean of the others of its query, so
    that fusing neither favours nor punishes it; where no candidate has one, the rewards stay as they are.
    """
    return np.asarray(rewards, dtype=np.float64) + weight * fill_unknown(similarities)


def fill_unknown(similarities: ArrayLike) -> np.ndarray:
    """Similarities (n,) with the mean of the known ones in place of NaN, 0 where none is known."""
    similarities = np.asarray(similarities, dtype=np.float64)
    known = similarities[~np.isnan(similarities)]
    return np.where(np.isnan(similarities), known.mean() if len(known) else 0.0, similarities)
