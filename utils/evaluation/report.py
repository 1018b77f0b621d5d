"""The honest report: the ranker beside everything it has to beat, on the same queries and candidates.

The rankers are those of ``utils/evaluation/rankers.py``. Errors are geodesic km; accuracies, shares and differences of
accuracies are percent.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from utils.decoding import METHODS, Decoder
from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.metrics import accuracy, expected_calibration_error, paired_summary, summary
from utils.evaluation.rankers import BASELINES
from utils.evaluation.stated import Stated
from utils.geography.geodesy import THRESHOLDS_KM
from utils.geography.nearest import nearest_km

CALIBRATION_RADIUS_KM = 200  # an answer is right, and a candidate supports it, within this distance
DENSITY_RADII_KM = (25, 200)
TRAINING_EDGES_KM = (0.0, 10.0, 25.0, 100.0, np.inf)  # bins of distance to the nearest training centre


def calibration_error(cases: Sequence[Case], picks: np.ndarray, decoder: Decoder) -> float:
    """Expected calibration error, 0 to 1, of the answers ``picks`` (cases,) by the shares of ``decoder``.

    As if the summed shares of the candidates closer than 200 km to the answer were its confidence, and an answer is
    correct when it lies within 200 km of the truth.
    """
    radius = CALIBRATION_RADIUS_KM
    confidences = [
        decoder.mass_near(case.evidence, pick, (radius,))[radius] for case, pick in zip(cases, picks, strict=True)
    ]
    return expected_calibration_error(confidences, picked_errors(cases, picks) < radius)


def build_report(
    cases: Sequence[Case],
    picks: dict[str, np.ndarray],
    *,
    prediction: str,
    temperature: float = 1.0,
    similarity_weight: float = 0.0,
    seed: int = 0,
    gallery: ArrayLike | None = None,
    training: ArrayLike | None = None,
    stated: Stated | None = None,
) -> dict:
    """Everything the report says, ready for JSON (the contents of ``metrics.json``).

    Args:
        cases: at least one; ``ValueError`` without any.
        picks: what each ranker picks, as ``ranker_picks`` returns it.
        prediction: the ranker whose picks are the answers.
        temperature, similarity_weight: of the shares behind the calibration error; a prediction that is not
            fused does without the weight.
        seed: of the bootstrap.
        gallery: (m, 2) degrees of all gallery photos, for the density of the gallery around the queries.
        training: (m, 2) degrees of all training photos, for accuracy by distance to the nearest of them.
        stated: what was stated of the predictions; None: nothing.
    """
    if not cases:
        raise ValueError("no query to report on")
    errors = {name: picked_errors(cases, indices) for name, indices in picks.items()}
    decoders = {
        method.ranker: method.decoder(temperature=temperature, similarity_weight=similarity_weight)
        for method in METHODS.values()
    }
    models = [name for name in picks if name in decoders]
    # What has to beat the baselines: where no model has scored, what needs none.
    judged = models or [name for name in picks if name == "consensus"]
    report = {
        "num_queries": len(cases),
        "mean_candidates": float(np.mean([len(case.points) for case in cases])),
        "prediction": prediction,
        "rankers": {name: summary(values, seed=seed) for name, values in errors.items()},
        "paired_differences": {
            ranker: {
                baseline: paired_summary(errors[ranker], errors[baseline], seed=seed)
                for baseline in BASELINES
                if baseline in errors and baseline != ranker
            }
            for ranker in judged
        },
        "gap_closed": {ranker: _gap_closed(errors, ranker) for ranker in judged},
        "calibration_error": calibration_error(cases, picks[prediction], decoders[prediction])
        if prediction in models
        else None,
        "calibration_radius_km": CALIBRATION_RADIUS_KM,
        "temperature": temperature,
        "similarity_weight": similarity_weight,
        "only_guesses": sum(all(c.source == "generation" for c in case.query.candidates) for case in cases),
        "without_similarity": sum(not case.evidence.has_similarity for case in cases),
        "without_geoclip": sum(bool(np.isnan(case.geoclip).all()) for case in cases),
    }
    if stated is not None:
        report |= stated.report()
    truths = [(case.query.latitude, case.query.longitude) for case in cases]
    if gallery is not None:
        shares = accuracy(nearest_km(truths, gallery), DENSITY_RADII_KM)
        report["gallery_density"] = dict(zip(map(str, DENSITY_RADII_KM), shares.tolist(), strict=True))
    if training is not None:
        report["training_distance"] = _by_training_distance(errors, nearest_km(truths, training))
    return report


def _by_threshold(values: ArrayLike) -> dict[str, float]:
    return dict(zip(map(str, THRESHOLDS_KM), np.asarray(values).tolist(), strict=True))


def _gap_closed(errors: dict[str, np.ndarray], ranker: str) -> dict[str, float | None]:
    """Share (percent) of the way from the first candidate to the oracle; None where they are equally good."""
    first, oracle, ranked = (accuracy(errors[name]) for name in ("retrieval", "oracle", ranker))
    return {
        str(threshold): 100 * (at - low) / (high - low) if high > low else None
        for threshold, low, high, at in zip(
            THRESHOLDS_KM, first.tolist(), oracle.tolist(), ranked.tolist(), strict=True
        )
    }


def _by_training_distance(errors: dict[str, np.ndarray], nearest: np.ndarray) -> list[dict]:
    """Accuracy of every ranker over the queries of each bin; bins without queries are absent."""
    bins = []
    for low, high in pairwise(TRAINING_EDGES_KM):
        inside = (low <= nearest) & (nearest < high)
        if inside.any():
            bins.append(
                {
                    "from_km": low,
                    "to_km": high if np.isfinite(high) else None,
                    "num_queries": int(inside.sum()),
                    "accuracy": {name: _by_threshold(accuracy(values[inside])) for name, values in errors.items()},
                }
            )
    return bins
