import doctest

import numpy as np
import pytest
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import BallTree

from utils.geography import nearest
from utils.geography.geodesy import EARTH_RADIUS_KM
from utils.geography.nearest import NearestPoints, nearest_km


def test_nearest_across_the_dateline():
    found = nearest_km([(0, 179.9), (89.9, 0)], [(0, -179.9), (0, 170), (89.9, 180)])
    expected = [great_circle((0, 179.9), (0, -179.9)).km, great_circle((89.9, 0), (89.9, 180)).km]
    assert found == pytest.approx(expected, rel=1e-5)


points = st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=100)
@given(points, points)
def test_distances_are_the_smallest_of_all_pairs(places, references):
    indices, distances = NearestPoints(references).find(places)
    for place, index, distance in zip(places, indices, distances, strict=True):
        every = [great_circle(place, reference, radius=EARTH_RADIUS_KM).km for reference in references]
        assert distance == pytest.approx(min(every), rel=1e-9, abs=1e-6)
        assert every[index] == pytest.approx(min(every), rel=1e-9, abs=1e-6)


def test_distances_are_scikit_learns():
    """From metres to thousands of km."""
    random = np.random.default_rng(0)
    references = np.stack([np.degrees(np.arcsin(random.uniform(-1, 1, 500))), random.uniform(-180, 180, 500)], axis=1)
    offsets = random.normal(0, 10 ** random.uniform(-5, 0, (100, 1)), (100, 2))
    places = np.concatenate([references[:100] + offsets, references])
    places[:, 0] = np.clip(places[:, 0], -90, 90)
    expected, _ = BallTree(np.radians(references), metric="haversine").query(np.radians(places))
    np.testing.assert_allclose(nearest_km(places, references), expected[:, 0] * EARTH_RADIUS_KM, rtol=1e-9, atol=1e-8)


def test_nothing_to_be_near_to_is_an_error():
    with pytest.raises(ValueError, match="no point"):
        nearest_km([(0, 0)], np.zeros((0, 2)))


def test_docstring_examples():
    assert doctest.testmod(nearest).failed == 0
