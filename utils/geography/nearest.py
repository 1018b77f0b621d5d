"""The nearest of many points, by great circle.

Points are (n, 2) [latitude, longitude] in degrees.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from utils.geography.geodesy import haversine_km, unit_vectors


class NearestPoints:
    """A search tree over ``points`` (m, 2); raises ``ValueError`` where there is none.

    >>> NearestPoints([(0, 0), (0, 170)]).find([(0, -179)])[0].tolist()
    [1]
    """

    def __init__(self, points: ArrayLike) -> None:
        self._points = np.asarray(points, dtype=np.float64)
        if len(self._points) == 0:
            raise ValueError("no point to be the nearest")
        self._tree = cKDTree(unit_vectors(*self._points.T))

    def find(self, points: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Index (n,) of the point that is nearest to each of ``points`` (n, 2), and its distance (n,) in km."""
        points = np.asarray(points, dtype=np.float64)
        # The nearest by chord is the nearest by great circle, everywhere on the sphere.
        _, nearest = self._tree.query(unit_vectors(*points.T))
        return nearest, haversine_km(*points.T, *self._points[nearest].T)


def nearest_km(points: ArrayLike, references: ArrayLike) -> np.ndarray:
    """(n,) great-circle km from ``points`` (n, 2) to the nearest of ``references`` (m, 2)."""
    return NearestPoints(references).find(points)[1]
