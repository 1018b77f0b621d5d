"""The honest report: the ranker beside everything it has to beat, on the same queries and candidates.

    model                  highest reward (the published decoding)
    model_consensus        candidate the reward probabilities agree on, s = 200 km
    model_fused            highest reward + a * similarity, `a` fitted on validation queries
    model_fused_consensus  candidate the fused probabilities agree on
    retrieval              first candidate: a retrieved one, but of a query that has only guesses
    consensus              candidate the places of all candidates agree on, equal weights, s = 200 km
    similarity             retrieved candidate with the highest cosine of the full embeddings
    random                 any candidate
    oracle                 nearest candidate: no ranker can do better

Rankers whose input is unknown (no rewards, no similarities) are absent. Where only some queries have candidates with
similarities, the first candidate stands for the most similar one of the others; the report counts both kinds. Errors
are geodesic km; accuracies, shares and differences of accuracies are percent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.neighbors import BallTree

from utils.candidates import Query
from utils.decoding import argmax, confidence, consensus, fuse, probabilities
from utils.evaluation.metrics import accuracy, expected_calibration_error, paired_summary, summary
from utils.geography.geodesy import EARTH_RADIUS_KM, THRESHOLDS_KM, geodesic_km

BASELINES = ("retrieval", "consensus", "similarity")
CALIBRATION_RADIUS_KM = 200  # an answer is right, and a candidate supports it, within this distance
DENSITY_RADII_KM = (25, 200)
TRAINING_EDGES_KM = (0.0, 10.0, 25.0, 100.0, np.inf)  # bins of distance to the nearest training centre


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

    @property
    def is_similar(self) -> bool:
        """Whether the similarity of any candidate is known."""
        return not np.isnan(self.similarities).all()


def ranker_picks(
    cases: Sequence[Case], *, temperature: float = 1.0, similarity_weight: float = 0.0, seed: int = 0
) -> dict[str, np.ndarray]:
    """Ranker -> index of the candidate it picks for each case (cases,).

    ``temperature`` and ``similarity_weight`` are those of the adapter; ``seed`` draws the random ranker.
    """
    similar = any(case.is_similar for case in cases)
    picks: dict[str, list[int]] = {}
    if all(case.rewards is not None for case in cases):
        picks |= _model_picks("model", cases, [case.rewards for case in cases], temperature)
        if similar:
            fused = [fuse(case.rewards, case.similarities, similarity_weight) for case in cases]
            picks |= _model_picks("model_fused", cases, fused, temperature)
    picks["retrieval"] = [0] * len(cases)
    picks["consensus"] = [consensus(case.points, np.ones(len(case.points))) for case in cases]
    if similar:
        picks["similarity"] = [int(np.nanargmax(case.similarities)) if case.is_similar else 0 for case in cases]
    generator = np.random.default_rng(seed)
    picks["random"] = [int(generator.integers(len(case.points))) for case in cases]
    picks["oracle"] = [int(np.argmin(case.distances)) for case in cases]
    return {name: np.array(indices) for name, indices in picks.items()}


def _model_picks(
    name: str, cases: Sequence[Case], rewards: Sequence[np.ndarray], temperature: float
) -> dict[str, list[int]]:
    return {
        name: [argmax(row) for row in rewards],
        f"{name}_consensus": [
            consensus(case.points, probabilities(row, temperature)) for case, row in zip(cases, rewards, strict=True)
        ],
    }


def picked_errors(cases: Sequence[Case], picks: np.ndarray) -> np.ndarray:
    """(cases,) km between the truth and the picked candidate."""
    return np.array([case.distances[pick] for case, pick in zip(cases, picks, strict=True)])


def nearest_km(points: ArrayLike, references: ArrayLike) -> np.ndarray:
    """(n,) great-circle km from ``points`` (n, 2) to the nearest of ``references`` (m, 2), in degrees."""
    tree = BallTree(np.radians(references), metric="haversine")
    distances, _ = tree.query(np.radians(points))
    return distances[:, 0] * EARTH_RADIUS_KM


def calibration_error(
    cases: Sequence[Case], picks: np.ndarray, temperature: float, similarity_weight: float = 0.0
) -> float:
    """Expected calibration error, 0 to 1, of the answers ``picks`` of a model, whose rewards are fused by the weight.

    Confidence is the probability mass of the candidates closer than 200 km to the answer, and an answer is
    correct when it lies within 200 km of the truth.
    """
    radius = CALIBRATION_RADIUS_KM
    confidences = [
        confidence(
            case.points,
            probabilities(fuse(case.rewards, case.similarities, similarity_weight), temperature),
            pick,
            (radius,),
        )[radius]
        for case, pick in zip(cases, picks, strict=True)
    ]
    return expected_calibration_error(confidences, picked_errors(cases, picks) < CALIBRATION_RADIUS_KM)


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
) -> dict:
    """Everything the report says, ready for JSON (the contents of ``metrics.json``).

    Args:
        cases: at least one; ``ValueError`` without any.
        picks: what each ranker picks, as ``ranker_picks`` returns it.
        prediction: the ranker whose picks are the answers.
        temperature, similarity_weight: of the probabilities behind the calibration error; a prediction that is not
            fused does without the weight.
        seed: of the bootstrap.
        gallery: (m, 2) degrees of all gallery photos, for the density of the gallery around the queries.
        training: (m, 2) degrees of all training photos, for accuracy by distance to the nearest of them.
    """
    if not cases:
        raise ValueError("no query to report on")
    errors = {name: picked_errors(cases, indices) for name, indices in picks.items()}
    models = [name for name in picks if name.startswith("model")]
    report = {
        "num_queries": len(cases),
        "mean_candidates": float(np.mean([len(case.points) for case in cases])),
        "prediction": prediction,
        "rankers": {name: summary(values, seed=seed) for name, values in errors.items()},
        "paired_differences": {
            model: {
                baseline: paired_summary(errors[model], errors[baseline], seed=seed)
                for baseline in BASELINES
                if baseline in errors
            }
            for model in models
        },
        "gap_closed": {model: _gap_closed(errors, model) for model in models},
        "calibration_error": calibration_error(
            cases, picks[prediction], temperature, similarity_weight if "fused" in prediction else 0.0
        )
        if prediction in models
        else None,
        "calibration_radius_km": CALIBRATION_RADIUS_KM,
        "temperature": temperature,
        "similarity_weight": similarity_weight,
        "only_guesses": sum(all(c.source == "generation" for c in case.query.candidates) for case in cases),
        "without_similarity": sum(not case.is_similar for case in cases),
    }
    truths = [(case.query.latitude, case.query.longitude) for case in cases]
    if gallery is not None:
        shares = accuracy(nearest_km(truths, gallery), DENSITY_RADII_KM)
        report["gallery_density"] = dict(zip(map(str, DENSITY_RADII_KM), shares.tolist(), strict=True))
    if training is not None:
        report["training_distance"] = _by_training_distance(errors, nearest_km(truths, training))
    return report


def _by_threshold(values: ArrayLike) -> dict[str, float]:
    return dict(zip(map(str, THRESHOLDS_KM), np.asarray(values).tolist(), strict=True))


def _gap_closed(errors: dict[str, np.ndarray], model: str) -> dict[str, float | None]:
    """Share (percent) of the way from the first candidate to the oracle; None where they are equally good."""
    first, oracle, ranked = (accuracy(errors[name]) for name in ("retrieval", "oracle", model))
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


def predictions_table(cases: Sequence[Case], picks: dict[str, np.ndarray], prediction: str) -> pd.DataFrame:
    """One row a query: truth, answer, what every ranker picked, and all candidates with their rewards.

    Lists are Python literals in the order of the candidates; a ranker's column holds the index of its pick.
    """
    rows = []
    for number, case in enumerate(cases):
        pick = picks[prediction][number]
        latitude, longitude = case.points[pick].tolist()
        row = {
            "IMG_ID": case.query.image,
            "LAT": case.query.latitude,
            "LON": case.query.longitude,
            "predicted_latitude": latitude,
            "predicted_longitude": longitude,
            "error_km": case.distances[pick],
        }
        row |= {name: indices[number] for name, indices in picks.items()}
        row["candidate_gps_lis"] = [tuple(point) for point in case.points.tolist()]
        row["candidate_source_lis"] = [candidate.source for candidate in case.query.candidates]
        row["candidate_distance_lis"] = case.distances.tolist()
        if case.rewards is not None:
            row["candidate_reward_lis"] = case.rewards.tolist()
        rows.append(row)
    return pd.DataFrame(rows)


def format_report(report: dict) -> str:
    """The report as text for a terminal, some 120 columns wide; the prediction is marked with an asterisk."""
    names = [f"{name} *" if name == report["prediction"] else name for name in report["rankers"]]
    width = max(map(len, names))
    lines = [
        f"{report['num_queries']} queries, {report['mean_candidates']:.1f} candidates each. "
        "% within a distance of the truth, with 95% bootstrap intervals:",
        "",
        f"{'':{width}}"
        + "".join(f"{f'{threshold} km':>18}" for threshold in THRESHOLDS_KM)
        + f"{'median km':>11}{'GeoScore':>10}",
    ]
    for name, figures in zip(names, report["rankers"].values(), strict=True):
        cells = [
            f"{figures['accuracy'][key]:>6.1f} [{low:4.1f},{high:5.1f}]"
            for key, (low, high) in figures["accuracy_ci95"].items()
        ]
        lines.append(
            f"{name:{width}}"
            + "".join(f"{cell:>18}" for cell in cells)
            + f"{figures['median_km']:>11.1f}{figures['geoscore']:>10.0f}"
        )
    lines += ["", "* the prediction", *_difference_lines(report), *_remarks(report)]
    return "\n".join(lines)


def _difference_lines(report: dict) -> list[str]:
    lines = []
    for model, baselines in report["paired_differences"].items():
        for baseline, figures in baselines.items():
            cells = [
                f"{figures['accuracy'][key]:>+6.1f} [{low:+.1f}, {high:+.1f}] at {key} km"
                for key, (low, high) in figures["accuracy_ci95"].items()
                if key in ("25", "200")
            ]
            lines.append(f"{f'{model} - {baseline}':<36}" + "  ".join(f"{cell:<33}" for cell in cells).rstrip())
    return ["", "Paired differences in points:", *lines] if lines else []


def _remarks(report: dict) -> list[str]:
    lines = []
    for model, gap in report["gap_closed"].items():
        if gap["200"] is not None:
            lines.append(f"{model} closes {gap['200']:.0f}% of the gap from first candidate to oracle at 200 km.")
    if report["calibration_error"] is not None:
        lines.append(
            f"Expected calibration error {report['calibration_error']:.3f} "
            f"(probability mass within {CALIBRATION_RADIUS_KM} km of the prediction, against being right "
            f"within {CALIBRATION_RADIUS_KM} km; temperature {report['temperature']:.3g})."
        )
    if report["only_guesses"]:
        lines.append(f"{report['only_guesses']} queries have no retrieved candidate: retrieval is their first guess.")
    if "similarity" in report["rankers"] and report["without_similarity"]:
        lines.append(
            f"{report['without_similarity']} queries have no similarities: similarity is their first candidate."
        )
    if "gallery_density" in report:
        shares = [f"{share:.1f}% within {radius} km" for radius, share in report["gallery_density"].items()]
        lines.append(f"Queries with a gallery photo: {', '.join(shares)}.")
    if "training_distance" in report:
        lines += ["", "% within 25 and 200 km by distance to the nearest training centre:"]
        for row in report["training_distance"]:
            to = f"{row['to_km']:.0f}" if row["to_km"] is not None else "..."
            cells = [
                f"{name} {row['accuracy'][name]['25']:.1f}/{row['accuracy'][name]['200']:.1f}"
                for name in dict.fromkeys((report["prediction"], "retrieval", "consensus", "oracle"))
            ]
            lines.append(f"  {row['from_km']:.0f}-{to} km, {row['num_queries']} queries: {', '.join(cells)}")
    return ["", *lines] if lines else []
