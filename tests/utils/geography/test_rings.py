import math

import numpy as np
import pytest
from matplotlib.path import Path

from utils.geography.discs import Disc
from utils.geography.geodesy import haversine_km
from utils.geography.rings import disc_polygons

DISCS = [
    Disc(38.7, -9.4, 90.0),
    Disc(-17.0, 179.9, 300.0),  # across the dateline
    Disc(80.0, -170.0, 2000.0),  # holds the north pole
    Disc(-89.5, 12.0, 100.0),
    Disc(10.0, 20.0, 10_500.0),  # more than a hemisphere, with one pole
    Disc(-3.0, 100.0, 15_000.0),  # both poles
    Disc(0.0, 0.0, 20_015.0),
    Disc(0.0, 180.0, 0.5),
]


def inside(polygons, longitude, latitude) -> np.ndarray:
    points = np.stack([longitude, latitude], axis=1)
    found = np.zeros(len(points), int)
    for outer, *holes in polygons:
        held = Path([*outer, outer[0]], closed=True).contains_points(points)
        for hole in holes:
            held &= ~Path([*hole, hole[0]], closed=True).contains_points(points)
        found += held
    assert found.max() < 2  # the parts of one disc do not overlap
    return found == 1


@pytest.mark.parametrize("disc", DISCS, ids=str)
def test_polygons_hold_what_the_disc_holds(disc):
    generator = np.random.default_rng(0)
    near = disc.radius_km / 111.2 * generator.uniform(-1.5, 1.5, (2, 500))
    latitude = np.degrees(np.arcsin(generator.uniform(-1, 1, 1000)))
    latitude[:500] = np.clip(disc.latitude + near[0], -89.99, 89.99)
    longitude = generator.uniform(-180, 180, 1000)
    shrink = max(math.cos(math.radians(disc.latitude)), 0.05)
    longitude[:500] = (disc.longitude + near[1] / shrink + 180) % 360 - 180
    distance = haversine_km(latitude, longitude, disc.latitude, disc.longitude)
    clear = np.abs(distance - disc.radius_km) > 0.005 * disc.radius_km
    assert clear.sum() > 900
    found = inside(disc_polygons(disc), longitude, latitude)
    np.testing.assert_array_equal(found[clear], (distance < disc.radius_km)[clear])


@pytest.mark.parametrize("disc", DISCS, ids=str)
def test_rings_turn_as_geojson_demands_and_stay_on_the_map(disc):
    for outer, *holes in disc_polygons(disc):
        assert turn(outer) > 0
        assert all(turn(hole) < 0 for hole in holes)
        corners = np.array([corner for ring in (outer, *holes) for corner in ring])
        assert np.abs(corners).max(0).tolist() <= [180, 90]


def turn(ring) -> float:
    """Positive where it runs counter-clockwise."""
    x, y = np.array(ring).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
