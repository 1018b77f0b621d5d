"""Where the tiles of the embedded world lie: clustered around towns, as people's photos are."""

from collections.abc import Iterator

import numpy as np

from earth.world.imagery import KM_PER_DEGREE, Earth

NUM_TOWNS = 5000
NEAR_TOWN = 0.8  # share of the centres that lie near a town; the others are uniform over the land
TOWN_KM = 20.0  # mean distance of those from their town
SOUTHERNMOST = -60.0  # Antarctica has no towns, and its tiles show nothing but ice
DECIMALS = 2  # of the coordinates: 0.01 degrees are 1.1 km, a fifth of a pixel


def _uniform(n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` points uniform by area north of ``SOUTHERNMOST``, (n, 2) degrees."""
    lat = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(SOUTHERNMOST)), 1, size=n)))
    return np.stack([lat, rng.uniform(-180, 180, size=n)], axis=1)


def _on_land(earth: Earth, points: np.ndarray) -> np.ndarray:
    return points[earth.is_land(points[:, 0], points[:, 1])]


def towns(earth: Earth, rng: np.random.Generator) -> np.ndarray:
    """``NUM_TOWNS`` points uniform over the land, (NUM_TOWNS, 2) degrees, around which centres gather."""
    points = _on_land(earth, _uniform(8 * NUM_TOWNS, rng))
    return points[:NUM_TOWNS]


def centres(earth: Earth, town_points: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Endless (latitude, longitude) on land, rounded to ``DECIMALS``; longitudes lie in [-180, 180)."""
    while True:
        n = 4096
        town = town_points[rng.integers(len(town_points), size=n)]
        km, angle = rng.exponential(TOWN_KM, size=n), rng.uniform(0, 2 * np.pi, size=n)
        lat = town[:, 0] + km * np.cos(angle) / KM_PER_DEGREE
        # Longitudes shrink towards the poles; no town lies so close to one that the cosine vanishes.
        lon = town[:, 1] + km * np.sin(angle) / KM_PER_DEGREE / np.cos(np.radians(town[:, 0]))
        near = np.stack([lat, lon], axis=1)
        points = np.where(rng.random((n, 1)) < NEAR_TOWN, near, _uniform(n, rng)).round(DECIMALS)
        points[:, 1] = (points[:, 1] + 180) % 360 - 180
        points[:, 1] = points[:, 1].round(DECIMALS)
        points = points[(points[:, 0] > SOUTHERNMOST) & (points[:, 0] < 90)]
        for lat, lon in _on_land(earth, points):
            yield float(lat), float(lon)
