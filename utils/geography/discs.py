"""Regions on the Earth that are made of discs: whether they hold a place, and how large they are together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from utils.geography.geodesy import EARTH_RADIUS_KM, haversine_km, unit_vectors

SAMPLES = 400  # points a disc, evenly spread, by which the overlap of discs is measured
GOLDEN = (5**0.5 - 1) / 2  # a spiral that turns by this share of a circle fills it evenly (Vogel 1979)


@dataclass(frozen=True)
class Disc:
    """All places within ``radius_km`` (great circle) of a point in degrees."""

    latitude: float
    longitude: float
    radius_km: float

    @property
    def area_km2(self) -> float:
        """Of the spherical cap."""
        return 2 * np.pi * EARTH_RADIUS_KM**2 * (1 - np.cos(min(self.radius_km / EARTH_RADIUS_KM, np.pi)))

    def boundary(self, corners: int) -> np.ndarray:
        """(corners, 2) [latitude, longitude] in degrees, evenly along its edge, clockwise from north."""
        angle = min(self.radius_km / EARTH_RADIUS_KM, np.pi)
        turn = 2 * np.pi * np.arange(corners)[:, None] / corners
        up, east, north = _axes(self)
        vectors = np.cos(angle) * up + np.sin(angle) * (np.sin(turn) * east + np.cos(turn) * north)
        latitude = np.arctan2(vectors[:, 2], np.hypot(vectors[:, 0], vectors[:, 1]))
        return np.degrees(np.stack([latitude, np.arctan2(vectors[:, 1], vectors[:, 0])], axis=1))


@dataclass(frozen=True)
class Region:
    """The union of some discs."""

    discs: tuple[Disc, ...]

    def contains(self, latitude: float, longitude: float) -> bool:
        """Whether a point in degrees lies in one of the discs, their edges included."""
        return any(
            float(haversine_km(latitude, longitude, disc.latitude, disc.longitude)) <= disc.radius_km
            for disc in self.discs
        )

    @cached_property
    def area_km2(self) -> float:
        """Of the union, to about 1% where discs overlap: what several discs share counts once."""
        if len(self.discs) < 2:
            return sum(disc.area_km2 for disc in self.discs)
        return sum(disc.area_km2 * float(np.mean(1 / self._count(_spread(disc)))) for disc in self.discs)

    @property
    def radius_km(self) -> float:
        """Of the disc that has the same area."""
        share = min(self.area_km2 / (4 * np.pi * EARTH_RADIUS_KM**2), 1.0)
        return float(EARTH_RADIUS_KM * np.arccos(1 - 2 * share))

    def _count(self, vectors: np.ndarray) -> np.ndarray:
        """How many of the discs hold each of the points (n, 3), of which every one lies in at least one: (n,)."""
        centres = unit_vectors([disc.latitude for disc in self.discs], [disc.longitude for disc in self.discs])
        angles = np.array([min(disc.radius_km / EARTH_RADIUS_KM, np.pi) for disc in self.discs])
        return np.maximum((vectors @ centres.T >= np.cos(angles) - 1e-12).sum(1), 1)


def _spread(disc: Disc) -> np.ndarray:
    """(SAMPLES, 3) unit vectors, evenly spread over the disc."""
    number = np.arange(SAMPLES)
    depth = (1 - np.cos(min(disc.radius_km / EARTH_RADIUS_KM, np.pi))) * (number + 0.5) / SAMPLES
    turn = 2 * np.pi * GOLDEN * number
    up, east, north = _axes(disc)
    aside = np.sqrt(1 - (1 - depth) ** 2)[:, None] * (np.cos(turn)[:, None] * east + np.sin(turn)[:, None] * north)
    return (1 - depth)[:, None] * up + aside


def _axes(disc: Disc) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors up, east and north at the middle of a disc."""
    up = unit_vectors(disc.latitude, disc.longitude)
    east = unit_vectors(0, disc.longitude + 90)
    return up, east, np.cross(up, east)


def region(points: Sequence[Sequence[float]], radii_km: Sequence[float]) -> Region:
    """The discs around ``points`` (n, 2) in degrees whose radius (n,) is positive."""
    found = zip(np.asarray(points, dtype=float).tolist(), np.asarray(radii_km, dtype=float).tolist(), strict=True)
    return Region(tuple(Disc(*point, radius) for point, radius in found if radius > 0))
