"""What an answer is worth: how likely it lies within a radius of the truth, and a region that holds the truth.

The mass of the candidates near an answer is no probability of the truth: the truth may lie where no candidate does.
So both are fitted on queries whose truth was known (``utils/evaluation/fit_calibration.py``) and stored, for each way
of deciding, in ``georanker.json``. Applying them takes numpy alone.

    confidence   a logistic regression a radius, on ``describe``; made monotone over the radii
    regions      discs around the likeliest groups of candidates; their size by cross-conformal prediction (Vovk 2015),
                 so that a level of 90% holds the truth of 90% of queries like those they were fitted on
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from utils.geography.discs import Region, region
from utils.geography.geodesy import THRESHOLDS_KM, distance_matrix_km
from utils.jobs.reading import check_kinds, naming

LEVELS = (50, 80, 90, 95)  # percent of queries whose truth a region holds
MASS_KM = (5, 25, 60, 200, 750, 2500)  # radii of the masses that describe an answer
COUNT_KM = (25, 60, 200)  # radii of the counts
FEATURES = len(MASS_KM) + 4 + len(COUNT_KM) + 2
SHARE_FLOOR = 1e-3  # below it and above its complement, masses are taken as equal
LARGEST_LOG_ODDS = 50.0  # beyond, a probability is 0 or 1 to all digits
FAR_KM = 20_015.0  # half the Earth's circumference: where a candidate is missing

GROUP_KM = 50.0  # candidates nearer than this to a likelier one belong to its group
MAX_GROUPS = 8
MARGIN_KM = 5.0  # added to distances, so that their logarithm does not fall without end
LEAST_RADIUS_KM = 1.0  # of the disc around the answer
LARGEST = 1e6  # of all numbers in a calibration; those that are fitted lie far below


@dataclass(frozen=True)
class Outlook:
    """What is known of an answer without the truth."""

    features: np.ndarray  # (FEATURES,)
    points: np.ndarray  # (groups, 2) degrees, the answer first
    shares: np.ndarray  # (groups,) mass of each group over that of the answer's, at most 1


def outlook(points: ArrayLike, shares: ArrayLike, answer: int, is_guess: ArrayLike) -> Outlook:
    """The outlook of candidate ``answer`` among n.

    Args:
        points: (n, 2) degrees.
        shares: (n,) of the candidates, together 1.
        is_guess: (n,) whether a candidate is a guess of a language model.
    """
    points, shares = np.asarray(points, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    distances = distance_matrix_km(points)
    heads = [answer]
    for number in np.argsort(-shares, kind="stable").tolist():
        if len(heads) < MAX_GROUPS and (distances[number, heads] > GROUP_KM).all():
            heads.append(number)
    group = distances[heads].argmin(0)  # (n,)
    masses = np.bincount(group, weights=shares, minlength=len(heads))
    relative = np.minimum(masses / max(masses[0], SHARE_FLOOR), 1.0)
    relative[0] = 1.0
    features = describe(distances[answer], shares, answer, bool(np.asarray(is_guess)[answer]))
    return Outlook(features, points[heads], relative)


def describe(distances: np.ndarray, shares: np.ndarray, answer: int, is_guess: bool) -> np.ndarray:
    """(FEATURES,) of an answer: ``distances`` (n,) km of all candidates from it, ``shares`` (n,) of them.

    Log-odds of the mass within ``MASS_KM``; logarithms of the mean distance weighted by shares, of the distances of
    the nearest and the third nearest other candidate, and of the largest share; entropy; logarithms of how many lie
    within ``COUNT_KM``; and whether the answer is a guess.
    """
    masses = np.clip([shares[distances < radius].sum() for radius in MASS_KM], SHARE_FLOOR, 1 - SHARE_FLOOR)
    others = np.sort(np.delete(distances, answer))
    nearest = [others[number] if number < len(others) else FAR_KM for number in (0, 2)]
    positive = shares[shares > 0]
    return np.concatenate(
        [
            np.log(masses / (1 - masses)),
            np.log(np.array([(shares * distances).sum() + 15, nearest[0] + 5, nearest[1] + 5])),
            [-(positive * np.log(positive)).sum()],
            [np.log1p((distances < radius).sum()) for radius in COUNT_KM],
            [np.log(shares.max()), float(is_guess)],
        ]
    )


@dataclass(frozen=True)
class Calibration:
    """What the answers of one way of deciding are worth.

    Raises ``ValueError``, naming the field, for values that nobody fitted.
    """

    odds: tuple[tuple[float, ...], ...]  # (radii, 1 + FEATURES): log-odds = first + rest . features
    scale: tuple[float, ...]  # (1 + FEATURES,): log of the scale of errors in km, likewise
    sizes: tuple[float, ...]  # (levels,): radius of the answer's disc plus MARGIN_KM, in scales
    queries: int  # that it was fitted on

    def __post_init__(self) -> None:
        shapes = {"odds": (len(THRESHOLDS_KM), 1 + FEATURES), "scale": (1 + FEATURES,), "sizes": (len(LEVELS),)}
        for name, shape in shapes.items():
            if not _is_shaped(getattr(self, name), shape):
                raise ValueError(f"{name} must be {shape} numbers between -{LARGEST:g} and {LARGEST:g}")
        if not all(size > 0 for size in self.sizes) or list(self.sizes) != sorted(self.sizes):
            raise ValueError(f"sizes are {list(self.sizes)}: they must be positive and rise with the level")
        check_kinds(vars(self), {"queries": int})
        if self.queries < 1:
            raise ValueError(f"queries is {self.queries}: it must be a positive number")

    def confidence(self, known: Outlook) -> dict[int, float]:
        """Probability (0 to 1) that the truth lies within each of ``THRESHOLDS_KM`` of the answer."""
        odds = np.array(self.odds)
        log_odds = np.clip(odds[:, 0] + odds[:, 1:] @ known.features, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
        chances = 1 / (1 + np.exp(-log_odds))
        return dict(zip(THRESHOLDS_KM, np.maximum.accumulate(chances).tolist(), strict=True))

    def regions(self, known: Outlook) -> dict[int, Region]:
        """A region for each of ``LEVELS``; a larger one holds the smaller ones."""
        return {
            level: region(known.points, self.radii(known, size)) for level, size in zip(LEVELS, self.sizes, strict=True)
        }

    def radii(self, known: Outlook, size: float) -> np.ndarray:
        """(groups,) km of the discs of one size; 0 where a group gets none."""
        radii = np.minimum(size * error_scale(self.scale, known) * known.shares - MARGIN_KM, FAR_KM)
        radii[0] = max(radii[0], LEAST_RADIUS_KM)
        return np.maximum(radii, 0.0)

    @classmethod
    def from_json(cls, value: Any) -> "Calibration":
        """What ``asdict`` made of one, read back. Raises ``ValueError`` for anything else."""
        if not isinstance(value, dict) or value.keys() != {"odds", "scale", "sizes", "queries"}:
            raise ValueError("a calibration has odds, scale, sizes and queries")
        lists = {name: _tuples(value[name]) for name in ("odds", "scale", "sizes")}
        return cls(**lists, queries=value["queries"])


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _is_shaped(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether ``value`` are nested tuples of ``shape`` with numbers up to ``LARGEST``."""
    if shape:
        return (
            isinstance(value, tuple) and len(value) == shape[0] and all(_is_shaped(part, shape[1:]) for part in value)
        )
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def error_scale(scale: Sequence[float], known: Outlook) -> float:
    """The scale in km that errors of such answers have; bounded, so that no outlier leaves the Earth."""
    weights = np.asarray(scale)
    return float(np.exp(np.clip(weights[0] + weights[1:] @ known.features, 0.0, np.log(FAR_KM))))


@dataclass(frozen=True)
class Sources:
    """Where the candidates came from that a calibration was fitted on: for others it says nothing.

    Raises ``ValueError``, naming the field, for values that no candidates can have.
    """

    topn: int  # retrieved candidates
    topn_zs: int  # generated ones
    merge_km: float
    gallery: str | None  # SHA-256 of the gallery's image ids, None where the gallery is unknown

    def __post_init__(self) -> None:
        check_kinds(vars(self), {"topn": int, "topn_zs": int, "merge_km": int | float, "gallery": str | None})
        for name in ("topn", "topn_zs", "merge_km"):
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name} is {getattr(self, name)}: it lies between 0 and {LARGEST:g}")

    def unlike(self, other: "Sources") -> str:
        """In words, how ``other`` sources differ from these; empty where they do not."""
        differing = []
        if self.topn != other.topn:
            differing.append(f"{counted(self.topn, 'similar photo', 'similar photos')}, not {other.topn or 'none'}")
        if self.topn_zs != other.topn_zs:
            differing.append(f"{counted(self.topn_zs, 'guess', 'guesses')}, not {other.topn_zs or 'none'}")
        if self.merge_km != other.merge_km:
            differing.append(f"candidates merged within {self.merge_km:g} km, not {other.merge_km:g}")
        if self.gallery != other.gallery:
            differing.append("another gallery")
        return "; ".join(differing)


def counted(number: int, one: str, several: str) -> str:
    """So many of what one is called ``one``: `no guesses`, `1 guess`, `3,000 guesses`."""
    return f"{format(number, ',') if number else 'no'} {one if number == 1 else several}"


@dataclass(frozen=True)
class Calibrations:
    """The calibrations of several ways of deciding, fitted on candidates of the same sources."""

    sources: Sources
    methods: Mapping[str, Calibration]  # by the names of ``utils.decoding.METHODS``
    # How many retrieved and how many generated candidates the queries had: all pairs but the rarest. Empty: unknown.
    counts: tuple[tuple[int, int], ...] = ()

    def of(self, method: str, sources: Sources) -> Calibration | None:
        """That of ``method`` for candidates of ``sources``; None where nothing is known of them."""
        return self.methods.get(method) if sources == self.sources else None

    def know(self, retrieved: int, generated: int) -> bool:
        """Whether it was fitted on queries with such numbers of candidates, give or take a retrieved one."""
        return any(abs(retrieved - count) <= 1 and generated == guesses for count, guesses in self.counts)

    @classmethod
    def from_json(cls, value: Any) -> "Calibrations":
        """What ``asdict`` made of one, read back. Raises ``ValueError`` for anything else."""
        if not isinstance(value, dict) or value.keys() - {"counts"} != {"sources", "methods"}:
            raise ValueError("it has sources, methods and counts")
        if not isinstance(value["sources"], dict) or value["sources"].keys() != Sources.__annotations__.keys():
            raise ValueError(f"sources are {', '.join(Sources.__annotations__)}")
        if not isinstance(value["methods"], dict):
            raise ValueError("methods is no object")
        methods = {}
        for name, fitted in value["methods"].items():
            with naming(name):
                methods[name] = Calibration.from_json(fitted)
        return cls(Sources(**value["sources"]), methods, _counts(value.get("counts", [])))


def _counts(value: Any) -> tuple[tuple[int, int], ...]:
    pairs = value if isinstance(value, list) else [None]
    for pair in pairs:
        if not (isinstance(pair, list) and [type(number) for number in pair] == [int, int] and min(pair) >= 0):
            raise ValueError("counts must be pairs of numbers of candidates")
    return tuple(map(tuple, pairs))
