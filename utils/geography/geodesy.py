"""Places on the Earth: coordinate checks, distances on the sphere and on the WGS-84 ellipsoid.

Latitudes and longitudes are degrees (WGS-84), latitude first; distances are kilometres. Everything holds
across the dateline, at the poles and between antipodes.
"""

import ast
from collections.abc import Sequence
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike

EARTH_RADIUS_KM = 6371.0088  # mean radius R1 of the WGS-84 ellipsoid (IUGG)
WGS84 = (6378137.0, 6356752.314245179, 1 / 298.257223563)  # semi-axes in metres, flattening


def haversine_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> np.ndarray:
    """Great-circle distance in km between points in degrees; the arguments broadcast like numpy operands.

    Identical points are exactly 0 km apart, also when one says longitude 180 and the other -180.
    """
    lat1, lon1, lat2, lon2 = (np.asarray(degrees, dtype=np.float64) for degrees in (lat1, lon1, lat2, lon2))
    turn = lon2 - lon1
    turn = np.radians(turn - 360 * np.round(turn / 360)) / 2
    across = np.cos(np.radians(lat1)) * np.cos(np.radians(lat2))
    near = np.sin(np.radians(lat2 - lat1) / 2) ** 2 + across * np.sin(turn) ** 2
    # The haversine of the way to the antipode. `1 - near` would say the same, but loses metres close to it.
    far = np.sin(np.radians(lat2 + lat1) / 2) ** 2 + across * np.cos(turn) ** 2
    return 2 * EARTH_RADIUS_KM * np.arctan2(np.sqrt(near), np.sqrt(far))


def distance_matrix_km(points: ArrayLike) -> np.ndarray:
    """Great-circle distances in km between all pairs of ``points`` (n, 2) [latitude, longitude]: (n, n)."""
    latitudes, longitudes = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
    return haversine_km(latitudes[:, None], longitudes[:, None], latitudes, longitudes)


def geodesic_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> np.ndarray:
    """Geodesic distance in km on the WGS-84 ellipsoid between points in degrees; the arguments broadcast.

    The distance of published accuracies (``geopy.distance.geodesic``; Karney, J. Geodesy 2013). It runs pair
    by pair, some seven thousand a second; where many are needed, ``haversine_km`` is within 0.6% of it.
    """
    from geopy.distance import geodesic  # a quarter of a second of imports, its web services among them

    def pair_km(*degrees: float) -> float:
        # Of an ellipsoid in metres geopy gives metres. They equal GeographicLib's to the bit, which those of its own
        # ellipsoid, in km, do not: tables written before geopy was used stay the same.
        return geodesic(degrees[:2], degrees[2:], ellipsoid=WGS84).km / 1000

    return np.vectorize(pair_km, otypes=[np.float64])(lat1, lon1, lat2, lon2)


def unit_vectors(lat: ArrayLike, lon: ArrayLike) -> np.ndarray:
    """Points on the unit sphere, (..., 3): x towards (0, 0), y towards (0, 90), z towards the north pole."""
    lat, lon = np.broadcast_arrays(np.radians(lat), np.radians(lon))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def is_valid_coordinate(lat: ArrayLike, lon: ArrayLike) -> np.ndarray:
    """Whether latitudes lie in [-90, 90] and longitudes in [-180, 180] degrees, each; NaN does not."""
    lat, lon = np.asarray(lat, dtype=np.float64), np.asarray(lon, dtype=np.float64)
    return (np.abs(lat) <= 90) & (np.abs(lon) <= 180)


def parse_coordinate(value: str | Sequence[float]) -> tuple[float, float]:
    """``(latitude, longitude)`` in degrees from ``"[lat, lon]"``, ``"(lat, lon)"`` or a sequence of two.

    Raises ValueError, saying what was wrong, for anything else: unparsable text, another number of parts, a
    part that is no number (NaN included), a value out of range. Text is read as a Python literal and never
    evaluated.
    """
    parts = value
    if isinstance(value, str):
        try:
            parts = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise ValueError(f"{value!r} is not a coordinate: expected [latitude, longitude]") from None
    if not isinstance(parts, (Sequence, np.ndarray)) or isinstance(parts, str) or len(parts) != 2:
        raise ValueError(f"{value!r} is not a coordinate: expected [latitude, longitude]")
    for name, part, limit in zip(("latitude", "longitude"), parts, (90, 180), strict=True):
        if not isinstance(part, Real) or isinstance(part, bool):
            raise ValueError(f"{name} {part!r} is not a number")
        if not -limit <= part <= limit:
            raise ValueError(f"{name} {part} is not between -{limit} and {limit} degrees")
    return float(parts[0]), float(parts[1])


Coordinate = tuple[float, float]  # latitude, longitude in degrees
THRESHOLDS_KM = (1, 25, 200, 750, 2500)  # street, city, region, country, continent
