"""From the rewards of one query's candidates to one place with a confidence.

Rewards (n,) become probabilities by a softmax at a temperature; temperature and the weight of retrieval
similarity are fitted on validation queries. Points are (n, 2) [latitude, longitude] in degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from utils.geography.geodesy import THRESHOLDS_KM, distance_matrix_km, haversine_km

CONSENSUS_SCALE_KM = 200.0

# fused: of rewards with which `fuse` has mixed similarities.
Method = Literal["argmax", "consensus", "fused", "fused_consensus"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Prediction:
    """The decoded place. ``confidence``: probability (0 to 1) that the truth lies within so many km of it."""

    index: int  # of the candidate
    latitude: float
    longitude: float
    confidence: dict[int, float]


def probabilities(rewards: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    """``softmax(rewards / temperature)``, (n,) or over the last axis of more: the share of each candidate."""
    return softmax(np.asarray(rewards, dtype=np.float64) / temperature, axis=-1)


def argmax(rewards: ArrayLike) -> int:
    """Index of the highest reward, as published; the first one where several are highest."""
    return int(np.argmax(rewards))


def consensus(points: ArrayLike, weights: ArrayLike, scale_km: float = CONSENSUS_SCALE_KM) -> int:
    """Index of the candidate i with the largest ``sum_j weights_j exp(-d_ij / scale_km)``.

    Candidates that agree on a region add up. With probabilities as weights this decodes a ranker; with equal
    weights it is the spatial-consensus baseline, which needs none.
    """
    closeness = np.exp(-distance_matrix_km(points) / scale_km)  # (n, n)
    return int(np.argmax(closeness @ np.asarray(weights, dtype=np.float64)))


def confidence(
    points: ArrayLike, weights: ArrayLike, index: int, radii_km: Sequence[int] = THRESHOLDS_KM
) -> dict[int, float]:
    """Probability mass (0 to 1) of the candidates closer than each radius in km to candidate ``index``."""
    points, weights = np.asarray(points, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    distances = haversine_km(*points[index], *points.T)
    # Rounding may carry the sum of all shares past 1.
    return {radius: min(float(weights[distances < radius].sum()), 1.0) for radius in radii_km}


def decode(
    points: ArrayLike,
    rewards: ArrayLike,
    *,
    temperature: float = 1.0,
    method: Method = "argmax",
    similarities: ArrayLike | None = None,
    similarity_weight: float = 0.0,
) -> Prediction:
    """One place out of n candidates, with its confidence at the thresholds of ``metrics.THRESHOLDS_KM``.

    A fused method needs ``similarities`` (n,), NaN where unknown; ``ValueError`` where none is known.

    >>> points, rewards = [(46.2, 7.1), (44.2, 6.7), (44.1, 6.9), (-33.9, 151.2)], [-4.5, -5.0, -5.0, -4.4]
    >>> decode(points, rewards).index, decode(points, rewards, method="consensus").index
    (3, 1)
    """
    if method.startswith("fused"):
        if similarities is None or np.isnan(np.asarray(similarities, dtype=np.float64)).all():
            raise ValueError(f"no candidate has a similarity: {method} has nothing to fuse rewards with")
        rewards = fuse(rewards, similarities, similarity_weight)
    weights = probabilities(rewards, temperature)
    index = consensus(points, weights) if method.endswith("consensus") else argmax(rewards)
    latitude, longitude = np.asarray(points, dtype=np.float64)[index]
    return Prediction(index, float(latitude), float(longitude), confidence(points, weights, index))


def fuse(rewards: ArrayLike, similarities: ArrayLike, weight: float) -> np.ndarray:
    """``rewards + weight * similarities``, (n,); similarities are NaN for candidates that have none.

    A candidate without a similarity, such as a generated one, gets the mean of the others of its query, so
    that fusing neither favours nor punishes it; where no candidate has one, the rewards stay as they are.
    """
    return np.asarray(rewards, dtype=np.float64) + weight * _filled(similarities)


def _filled(similarities: ArrayLike) -> np.ndarray:
    similarities = np.asarray(similarities, dtype=np.float64)
    known = similarities[~np.isnan(similarities)]
    return np.where(np.isnan(similarities), known.mean() if len(known) else 0.0, similarities)
