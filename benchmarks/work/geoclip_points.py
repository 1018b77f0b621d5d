"""The tables of ``benchmarks/geoclip_points.py``, in Markdown."""

import numpy as np
from scipy.spatial import cKDTree

from benchmarks.tables import markdown
from utils.candidates import apart
from utils.evaluation.metrics import accuracy
from utils.geography.geodesy import THRESHOLDS_KM, haversine_km, unit_vectors
from utils.geography.nearest import nearest_km
from utils.retrieval.geoclip_points import GeoClipPoints

RADII_KM = (1, 5, 10, 25, 50, 100)
MERGED_KM = (0, 0.3, *RADII_KM)
PERCENTILES = (10, 25, 50, 75, 90, 95, 99)
SLOTS = 12  # retrieved candidates that are ranked, as published
DEEPER = 5  # times as many points, to fill up from


def neighbour_distances(points: np.ndarray) -> np.ndarray:
    """(n,) great-circle km from each of ``points`` (n, 2) degrees to the nearest other one, 0 for one given twice."""
    vectors = unit_vectors(*points.T)
    _, nearest = cKDTree(vectors).query(vectors, k=2)
    # Of points that are given more than once, either column may hold the point itself.
    others = np.where(nearest[:, 0] == np.arange(len(points)), nearest[:, 1], nearest[:, 0])
    return haversine_km(*points.T, *points[others].T)


def neighbours_table(points: np.ndarray) -> str:
    distances = neighbour_distances(points)
    values = np.percentile(distances, PERCENTILES)
    repeated = len(points) - len(np.unique(points, axis=0))
    rows = [
        [f"{len(points)} points, {repeated} of them repeat another", *(f"{percent}%" for percent in PERCENTILES)],
        ["km to the nearest other point, percentiles", *(f"{value:.2f}" for value in values)],
    ]
    shares = [f"{100 * (distances <= radius).mean():.1f}% within {radius} km" for radius in RADII_KM]
    return f"{markdown(rows)}\n\nPoints with another one: {', '.join(shares)}."


def drawn(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, 2) of ``points`` at random."""
    return np.random.default_rng(seed).choice(points, count, replace=False)


def bound(points: np.ndarray, places: np.ndarray) -> str:
    """How near the nearest of ``points`` is to each of ``places`` (m, 2) degrees: no ranker of points does better."""
    shares = accuracy(nearest_km(places, points))
    listed = ", ".join(f"{share:.1f}% within {radius} km" for radius, share in zip(THRESHOLDS_KM, shares, strict=True))
    return f"{len(places)} places with a point: {listed}."


def _found(geoclip: GeoClipPoints, places: np.ndarray, topk: int) -> np.ndarray:
    """(m, topk, 2) degrees of the points that are nearest by cosine to ``places`` (m, 2)."""
    return geoclip.points[geoclip.search(geoclip.encode(places), topk)[0]]


def nearness_table(geoclip: GeoClipPoints, places: np.ndarray, topk: int) -> str:
    """How many of the best points but the first lie within each radius of it."""
    points = _found(geoclip, places, topk)
    distances = haversine_km(*points[:, :1].transpose(2, 0, 1), *points[:, 1:].transpose(2, 0, 1))
    counts = np.stack([(distances <= radius).sum(1) for radius in RADII_KM])  # (radii, queries)
    rows = [
        [f"of the {topk - 1} best points after the first", *(f"{radius} km" for radius in RADII_KM)],
        ["within so much of it, mean", *(f"{count:.1f}" for count in counts.mean(1))],
        ["median", *(f"{count:.0f}" for count in np.median(counts, axis=1))],
    ]
    return markdown(rows)


def merged_table(geoclip: GeoClipPoints, places: np.ndarray, topk: int) -> str:
    """How many of the best points remain when those within a radius of a better one are dropped."""
    deep = min(DEEPER * topk, len(geoclip.points))
    points = _found(geoclip, places, deep)
    rows = [["merged within", f"left of {topk}", f"left of {deep}", f"places with {SLOTS} left of {deep}"]]
    for radius in MERGED_KM:
        kept = [np.array(apart(of_query, radius)) for of_query in points]
        rows.append(
            [
                f"{radius} km" if radius else "off",
                f"{np.mean([(numbers < topk).sum() for numbers in kept]):.1f}",
                f"{np.mean([len(numbers) for numbers in kept]):.1f}",
                f"{100 * np.mean([len(numbers) >= SLOTS for numbers in kept]):.0f}%",
            ]
        )
    return markdown(rows)
