"""How good answers are: accuracy at a distance, GeoScore, intervals, calibration, and what withholding some gains.

``distances`` are the geodesic distances in km between answers and truths, one a query (n,).
"""

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from utils.geography.geodesy import THRESHOLDS_KM

# Of many samples at once: (samples, n, ...) -> (samples, ...), one number or one array each.
Statistic = Callable[[np.ndarray], ArrayLike]
DRAWN_AT_ONCE = 2**17  # queries, of as many samples as they make


class Summary(TypedDict):
    """What a report says of one ranker; accuracies in percent, keyed by the threshold in km as text."""

    accuracy: dict[str, float]
    accuracy_ci95: dict[str, list[float]]  # [low, high]
    median_km: float
    geoscore: float


class PairedSummary(TypedDict):
    """Differences of accuracies in percentage points, keyed like those of ``Summary``."""

    accuracy: dict[str, float]
    accuracy_ci95: dict[str, list[float]]  # [low, high]


def accuracy(distances: ArrayLike, thresholds: Sequence[float] = THRESHOLDS_KM) -> np.ndarray:
    """Percentage of queries answered within (strictly less than) each threshold in km: (thresholds,).

    Of several samples of queries (..., n): (..., thresholds).
    """
    distances = np.asarray(distances)
    return 100 * np.stack([(distances < threshold).mean(axis=-1) for threshold in thresholds], axis=-1)


def geoscore(distances: ArrayLike) -> float:
    """Mean of ``5000 exp(-d / 1492.7)`` points, the score of the game GeoGuessr on its world map."""
    return float(np.mean(5000 * np.exp(-np.asarray(distances) / 1492.7)))


def bootstrap_ci(
    values: ArrayLike, statistic: Statistic, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap interval (low, high) of ``statistic``; queries are drawn with replacement.

    ``values`` is (n, ...), one row a query. One drawn sample serves everything the statistic returns of it, so that
    ``accuracy`` yields the intervals of all thresholds at once. The same seed gives the same interval.
    """
    values = np.asarray(values)
    count = len(values)
    random = np.random.default_rng(seed)
    at_once = max(1, DRAWN_AT_ONCE // count)
    draws = [
        statistic(values[random.integers(count, size=(min(at_once, resamples - done), count))])
        for done in range(0, resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(draws), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def paired_difference_ci(
    first: ArrayLike,
    second: ArrayLike,
    statistic: Statistic,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``statistic`` of ``first`` minus that of ``second`` and its bootstrap interval: (difference, low, high).

    ``first`` and ``second`` are (n,), two rankers' values for the same queries in the same order. Queries are
    drawn in pairs, so what makes a query hard for both does not widen the interval.
    """
    pairs = np.stack([first, second], axis=1)

    def difference(pairs: np.ndarray) -> np.ndarray:
        return np.asarray(statistic(pairs[..., 0])) - np.asarray(statistic(pairs[..., 1]))

    return difference(pairs[None])[0], *bootstrap_ci(pairs, difference, resamples=resamples, level=level, seed=seed)


class Reliability(TypedDict):
    """How sure answers were and how often they were right, bin by bin; bins without an answer are absent."""

    confidence: list[float]  # mean of the bin, 0 to 1
    correct: list[float]  # share of right answers, 0 to 1
    count: list[int]


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> Reliability:
    """The data of a reliability diagram, over bins of confidence of equal width, in order.

    ``confidence`` (n,) lies in [0, 1], ``correct`` (n,) is true or false.
    """
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    filled = counts > 0
    sums = [np.bincount(bin_of, weights=values, minlength=bins) for values in (confidence, correct)]
    stated, right = (values[filled] / counts[filled] for values in sums)
    return Reliability(confidence=stated.tolist(), correct=right.tolist(), count=counts[filled].tolist())


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 10) -> float:
    """Mean gap between confidence and the share of correct answers, over the bins of ``reliability``.

    A bin weighs as much as it has answers (Guo et al. 2017). 0 is perfectly calibrated.
    """
    found = reliability(confidence, correct, bins)
    gaps = np.abs(np.subtract(found["confidence"], found["correct"]))
    return float(np.average(gaps, weights=found["count"]))


def coverage_curve(confidence: ArrayLike, correct: ArrayLike) -> np.ndarray:
    """Percentage of right answers among the k surest, k = 1 to n: (n,).

    What answers are worth when the less sure ones are withheld (selective prediction, Geifman and El-Yaniv 2017).
    ``confidence`` and ``correct`` are (n,). Equally sure answers are taken in any order: each counts as their mean.
    The mean of the curve is the area under it; without any order it would be the accuracy of all.
    """
    correct = np.asarray(correct, dtype=np.float64)
    _, level, counts = np.unique(-np.asarray(confidence, dtype=np.float64), return_inverse=True, return_counts=True)
    means = np.bincount(level, weights=correct) / counts  # of equally sure answers, the surest first
    return 100 * np.cumsum(np.repeat(means, counts)) / np.arange(1, len(correct) + 1)


def pairwise_accuracy(rewards: ArrayLike, distances: ArrayLike) -> float:
    """Percentage of one query's candidate pairs whose nearer one has the higher reward.

    ``rewards`` and ``distances`` (km) are (n,). Equal rewards count half; pairs at equal distance say nothing
    and are left out. NaN where no pair is left.
    """
    rewards, distances = np.asarray(rewards, dtype=np.float64), np.asarray(distances, dtype=np.float64)
    nearer, farther = np.nonzero(distances[:, None] < distances)
    if len(nearer) == 0:
        return float("nan")
    return float(50 + 50 * np.sign(rewards[nearer] - rewards[farther]).mean())


def paired_summary(first: ArrayLike, second: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> PairedSummary:
    """How many points more accurate ``first`` is than ``second``, distances (n,) of the same queries; for JSON."""
    names = [str(threshold) for threshold in THRESHOLDS_KM]
    difference, low, high = paired_difference_ci(first, second, accuracy, resamples=resamples, seed=seed)
    return PairedSummary(
        accuracy=dict(zip(names, difference.tolist(), strict=True)),
        accuracy_ci95=dict(zip(names, np.stack([low, high], axis=1).tolist(), strict=True)),
    )


def summary(distances: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Summary:
    """The figures of one ranker over a benchmark, ready for JSON; raises ValueError without any query."""
    distances = np.asarray(distances, dtype=np.float64)
    if len(distances) == 0:
        raise ValueError("no query to summarise")
    names = [str(threshold) for threshold in THRESHOLDS_KM]
    intervals = np.stack(bootstrap_ci(distances, accuracy, resamples=resamples, seed=seed), axis=1)
    return Summary(
        accuracy=dict(zip(names, accuracy(distances).tolist(), strict=True)),
        accuracy_ci95=dict(zip(names, intervals.tolist(), strict=True)),
        median_km=float(np.median(distances)),
        geoscore=geoscore(distances),
    )
