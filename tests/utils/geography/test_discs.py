"""Regions of discs against points drawn evenly over the whole Earth."""

import numpy as np
import pytest
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography.discs import Disc, Region, region
from utils.geography.geodesy import EARTH_RADIUS_KM, haversine_km

EARTH_KM2 = 4 * np.pi * EARTH_RADIUS_KM**2
points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
discs = st.lists(
    st.builds(lambda point, radius: Disc(*point, radius), points, st.floats(500, 12_000)), min_size=1, max_size=4
)


def anywhere(count: int) -> np.ndarray:
    """(count, 2) degrees, evenly over the Earth."""
    random = np.random.default_rng(0)
    return np.stack([np.degrees(np.arcsin(random.uniform(-1, 1, count))), random.uniform(-180, 180, count)], axis=1)


@settings(deadline=None, max_examples=15)
@given(discs)
def test_area_is_the_share_of_the_earth_that_lies_in_it(parts):
    found = Region(tuple(parts))
    inside = np.mean([found.contains(*point) for point in anywhere(1000)])
    assert found.area_km2 / EARTH_KM2 == pytest.approx(inside, abs=0.06)
    assert (
        max(part.area_km2 for part in parts) * 0.97 <= found.area_km2 <= sum(part.area_km2 for part in parts) * 1.0001
    )


def test_what_discs_share_counts_once():
    one = Disc(46.1, 7.1, 100.0)
    assert Region((one, one)).area_km2 == pytest.approx(one.area_km2, rel=1e-6)
    inner = Disc(46.1, 7.1, 20.0)
    assert Region((one, inner)).area_km2 == pytest.approx(one.area_km2, rel=0.02)
    far = Disc(-33.9, 151.2, 100.0)
    assert Region((one, far)).area_km2 == pytest.approx(2 * one.area_km2, rel=1e-6)
    assert Region((one,)).radius_km == pytest.approx(100.0)
    assert Disc(0, 0, 30_000.0).area_km2 == pytest.approx(EARTH_KM2)


@given(points, st.floats(-180, 180), st.floats(1, 19_000))
def test_contains_agrees_with_geopy(centre, longitude, radius):
    place = (-centre[0] / 2, longitude)
    distance = great_circle(centre, place).km
    if abs(distance - radius) > 0.1:
        assert Region((Disc(*centre, radius),)).contains(*place) == (distance < radius)


def test_discs_without_a_radius_are_none():
    assert region([(1, 2), (3, 4)], [5.0, 0.0]).discs == (Disc(1.0, 2.0, 5.0),)
    assert region([(1, 2)], [0.0]).area_km2 == 0


@pytest.mark.parametrize("disc", [Disc(46, 7, 200), Disc(89.9, 0, 500), Disc(0, 180, 3000), Disc(-90, 0, 12_000)])
def test_the_boundary_is_as_far_as_the_radius(disc):
    edge = disc.boundary(24)
    assert haversine_km(disc.latitude, disc.longitude, *edge.T) == pytest.approx(np.full(24, disc.radius_km), rel=1e-6)
    assert len(np.unique(edge.round(6), axis=0)) == 24
