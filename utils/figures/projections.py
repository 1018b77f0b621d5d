"""Flat pictures of the Earth: a close-up around any point, poles and dateline included, and the whole Earth.

Latitudes and longitudes are degrees, map coordinates x (east) and y (north) are km on the map; arguments broadcast.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.geography.geodesy import EARTH_RADIUS_KM, unit_vectors


@dataclass(frozen=True)
class EqualArea:
    """Lambert's azimuthal equal-area projection (Snyder, Map Projections, 1987, page 182), its centre at (0, 0).

    True to scale at the centre; 10,000 km away lengths are off by 41%, areas never. North is up at the centre.
    """

    latitude: float
    longitude: float

    def _axes(self) -> np.ndarray:
        """(3, 3): unit vectors towards east, north and up at the centre."""
        up = unit_vectors(self.latitude, self.longitude)
        east = unit_vectors(0, self.longitude + 90)
        return np.stack([east, np.cross(up, east), up])

    def project(self, latitude: ArrayLike, longitude: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Map coordinates of places; the antipode of the centre is moved by some metres."""
        east, north, up = np.moveaxis(unit_vectors(latitude, longitude) @ self._axes().T, -1, 0)
        factor = EARTH_RADIUS_KM * np.sqrt(2 / np.maximum(1 + up, 1e-12))
        return factor * east, factor * north

    def unproject(self, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Places at map coordinates, which lie within 12,742 km of the centre."""
        east, north = np.asarray(x) / EARTH_RADIUS_KM, np.asarray(y) / EARTH_RADIUS_KM
        square = east**2 + north**2
        factor = np.sqrt(1 - square / 4)
        vectors = np.stack([factor * east, factor * north, 1 - square / 2], axis=-1) @ self._axes()
        latitude = np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1]))
        return np.degrees(latitude), np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0]))


@dataclass(frozen=True)
class PlateCarree:
    """The whole Earth with straight meridians and parallels, ``longitude`` in the middle; true along the equator."""

    longitude: float

    def project(self, latitude: ArrayLike, longitude: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Map coordinates of places."""
        east = (np.asarray(longitude) - self.longitude + 180) % 360 - 180
        return np.radians(east) * EARTH_RADIUS_KM, np.radians(latitude) * EARTH_RADIUS_KM

    def unproject(self, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Places at map coordinates, their longitudes in [-180, 180)."""
        longitude = np.degrees(np.asarray(x) / EARTH_RADIUS_KM) + self.longitude
        return np.degrees(np.asarray(y) / EARTH_RADIUS_KM), (longitude + 180) % 360 - 180
