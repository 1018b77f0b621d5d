"""What was stated of the answers of a benchmark, against the truth."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from utils.calibration import LEVELS, Calibration, Outlook, Sources, outlook
from utils.decider import Decider
from utils.decoding import Decoder
from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.metrics import Reliability, accuracy, expected_calibration_error, reliability
from utils.geography.geodesy import THRESHOLDS_KM

logger = logging.getLogger(__name__)

COVERED = (100, 80, 50)  # percent of the queries that are answered, the surest ones


def case_outlooks(cases: Sequence[Case], picks: np.ndarray, decoder: Decoder) -> list[Outlook]:
    """What is known of the picked candidates (cases,) without the truth."""
    return [
        outlook(case.points, decoder.shares(case.evidence), int(pick), np.isnan(case.ranks))
        for case, pick in zip(cases, picks, strict=True)
    ]


@dataclass(frozen=True)
class Stated:
    """Confidences and regions of n answers, and what was true of them."""

    chances: np.ndarray  # (n, radii) probability of lying within each of THRESHOLDS_KM
    errors: np.ndarray  # (n,) km
    held: np.ndarray  # (n, levels) whether the region of each of LEVELS holds the truth
    areas: np.ndarray  # (n, levels) km2
    radii: np.ndarray  # (n, levels) km of the discs of the same areas

    @classmethod
    def of(cls, cases: Sequence[Case], picks: np.ndarray, decoder: Decoder, calibration: Calibration) -> "Stated":
        """By ``calibration`` of the answers ``picks`` (cases,) of ``decoder``."""
        outlooks = case_outlooks(cases, picks, decoder)
        regions = [list(calibration.regions(known).values()) for known in outlooks]
        return cls(
            np.array([list(calibration.confidence(known).values()) for known in outlooks]),
            picked_errors(cases, picks),
            np.array(
                [
                    [found.contains(case.query.latitude, case.query.longitude) for found in own]
                    for case, own in zip(cases, regions, strict=True)
                ]
            ),
            np.array([[found.area_km2 for found in own] for own in regions]),
            np.array([[found.radius_km for found in own] for own in regions]),
        )

    @classmethod
    def together(cls, parts: Sequence["Stated"]) -> "Stated":
        """Of the answers of all parts."""
        columns = zip(*([getattr(part, field.name) for field in fields(cls)] for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    def near(self) -> np.ndarray:
        """(n, radii) whether an answer is that near."""
        return self.errors[:, None] < np.array(THRESHOLDS_KM)

    def reliability(self) -> dict[int, Reliability]:
        """Radius in km -> stated and true confidence of ten bins of answers."""
        columns = zip(THRESHOLDS_KM, self.chances.T, self.near().T, strict=True)
        return {radius: reliability(chances, near) for radius, chances, near in columns}

    def coverage(self) -> dict[int, float]:
        """Level -> percentage of the truths that its regions held."""
        return dict(zip(LEVELS, (100 * self.held.mean(axis=0)).tolist(), strict=True))

    def report(self) -> dict[str, Any]:
        """``calibration_errors``, ``brier``, ``brier_base``, ``regions`` and ``selective`` of metrics.json."""
        near = self.near()
        names = [str(radius) for radius in THRESHOLDS_KM]
        rates = near.mean(axis=0)
        errors = [expected_calibration_error(*columns) for columns in zip(self.chances.T, near.T, strict=True)]
        return {
            "calibration_errors": dict(zip(names, errors, strict=True)),
            "brier": dict(zip(names, ((self.chances - near) ** 2).mean(axis=0).tolist(), strict=True)),
            "brier_base": dict(zip(names, (rates * (1 - rates)).tolist(), strict=True)),
            "regions": {
                str(level): {
                    "coverage": self.coverage()[level],
                    "median_area_km2": float(np.median(self.areas[:, number])),
                    "median_radius_km": float(np.median(self.radii[:, number])),
                }
                for number, level in enumerate(LEVELS)
            },
            "selective": {str(share): self._selective(share) for share in COVERED},
        }

    def _selective(self, share: int) -> dict[str, float]:
        """Accuracy in percent within each radius over the ``share`` percent of the answers that are surest of it."""
        count = max(1, round(len(self.errors) * share / 100))
        surest = np.argsort(-self.chances, axis=0, kind="stable")[:count]  # (count, radii)
        values = [
            float(accuracy(self.errors[surest[:, number]], (radius,))[0]) for number, radius in enumerate(THRESHOLDS_KM)
        ]
        return dict(zip(map(str, THRESHOLDS_KM), values, strict=True))


def stated_of(decider: Decider, sources: Sources, cases: Sequence[Case], picks: np.ndarray) -> Stated | None:
    """What is stated of those answers ``picks`` (cases,) of ``decider`` of which anything is known.

    None where nothing is known of candidates of such ``sources``, or of such numbers of them. Says why.
    """
    calibration = decider.calibration(sources)
    known = np.array([calibration is not None and decider.knows(case.counts) for case in cases])
    if not known.all():
        why = decider.why_unknown(sources, cases[int(np.argmin(known))].counts)
        logger.info("no confidence is stated of %d of %d answers: %s", (~known).sum(), len(cases), why)
    if not known.any():
        return None
    stated = [case for case, is_known in zip(cases, known, strict=True) if is_known]
    return Stated.of(stated, picks[known], decider.decoder, calibration)
