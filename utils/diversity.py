"""Candidates of one query without near-duplicates, so that every slot shows the ranker another place."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from utils.geodesy import distance_matrix_km


def apart(points: ArrayLike, radius_km: float, taken: Sequence[tuple[float, float]] = ()) -> list[int]:
    """Which points remain when each is dropped that lies within ``radius_km`` of a better one that remains.

    Args:
        points: (n, 2) [latitude, longitude] in degrees, best first.
        radius_km: great-circle distance; 0 drops nothing, not even the same place again.
        taken: (m, 2) better points that remain anyway.

    Returns:
        Increasing positions. No two of these points are within the radius of each other, and whatever was
        dropped is within the radius of a better one.
    """
    points, taken = (np.asarray(part, dtype=np.float64).reshape(-1, 2) for part in (points, taken))
    if radius_km == 0:
        return list(range(len(points)))
    near = distance_matrix_km(np.concatenate([taken, points])) <= radius_km
    kept = list(range(len(taken)))
    for number in range(len(taken), len(near)):
        if not near[number, kept].any():
            kept.append(number)
    return [number - len(taken) for number in kept[len(taken) :]]
