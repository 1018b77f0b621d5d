import numpy as np
import pytest
from geopy.distance import geodesic, great_circle
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography.geodesy import (
    EARTH_RADIUS_KM,
    distance_matrix_km,
    geodesic_km,
    haversine_km,
    is_valid_coordinate,
    parse_coordinate,
    unit_vectors,
)

latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)
points = st.tuples(latitudes, longitudes)
HALF_WAY_ROUND = np.pi * EARTH_RADIUS_KM
LAT, LON = 46.167286, -7.099698


@settings(deadline=None, max_examples=200)
@given(points, points)
def test_haversine_is_the_great_circle(a, b):
    expected = great_circle(a, b, radius=EARTH_RADIUS_KM).km
    assert haversine_km(*a, *b) == pytest.approx(expected, rel=1e-9, abs=1e-7)


@settings(deadline=None, max_examples=100)
@given(points, points)
def test_geodesic_is_the_published_distance(a, b):
    assert geodesic_km(*a, *b) == pytest.approx(geodesic(a, b).km, rel=1e-12, abs=1e-9)


@settings(deadline=None, max_examples=200)
@given(points, points)
def test_haversine_is_within_the_documented_share_of_the_geodesic(a, b):
    assert haversine_km(*a, *b) == pytest.approx(geodesic_km(*a, *b), rel=6e-3, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(points)
def test_identical_points_are_exactly_zero_apart(a):
    assert haversine_km(*a, *a) == 0
    assert geodesic_km(*a, *a) == 0


@settings(deadline=None, max_examples=100)
@given(points)
def test_antipodes_are_half_way_round_to_the_millimetre(a):
    antipode = (-a[0], a[1] - 180 if a[1] > 0 else a[1] + 180)
    assert haversine_km(*a, *antipode) == pytest.approx(HALF_WAY_ROUND, abs=1e-6)


@pytest.mark.parametrize("metres", [1, 20])
def test_points_beside_the_antipode_keep_their_metres(metres):
    step = np.degrees(metres / 1000 / EARTH_RADIUS_KM)
    assert HALF_WAY_ROUND - haversine_km(0, 0, step, 180) == pytest.approx(metres / 1000, rel=1e-6)


def test_dateline():
    assert haversine_km(12.5, 180, 12.5, -180) == 0
    assert haversine_km(0, 179.9, 0, -179.9) == pytest.approx(haversine_km(0, -0.1, 0, 0.1), rel=1e-9)
    assert geodesic_km(-17, 179.9, -17, -179.9) == pytest.approx(geodesic((-17, 0), (-17, 0.2)).km, rel=1e-9)


def test_every_longitude_of_a_pole_is_one_point():
    assert haversine_km(90, 10, 90, -120) == pytest.approx(0, abs=1e-9)
    assert haversine_km(90, 0, -90, 77) == pytest.approx(HALF_WAY_ROUND, rel=1e-12)


def test_distances_broadcast():
    lat, lon = np.array([10.0, -20.0, 30.0]), np.array([170.0, -175.0, 0.0])
    for distance in (haversine_km, geodesic_km):
        matrix = distance(lat[:, None], lon[:, None], lat, lon)
        assert matrix.shape == (3, 3)
        assert matrix[0, 1] == distance(10.0, 170.0, -20.0, -175.0)


def test_distance_matrix_is_pairwise():
    places = np.array([[46.2, 7.1], [44.2, 6.7], [-17.7, 179.9], [-16.5, -179.9]])
    matrix = distance_matrix_km(places)
    expected = [[great_circle(a, b, radius=EARTH_RADIUS_KM).km for b in places] for a in places]
    np.testing.assert_allclose(matrix, expected, rtol=1e-9, atol=1e-9)
    assert distance_matrix_km([]).shape == (0, 0)


@settings(deadline=None, max_examples=100)
@given(points, points)
def test_unit_vectors_span_the_distance(a, b):
    u, v = unit_vectors([a[0], b[0]], [a[1], b[1]])
    assert np.linalg.norm(u) == pytest.approx(1)
    chord_km = 2 * EARTH_RADIUS_KM * np.arcsin(min(np.linalg.norm(u - v) / 2, 1))
    assert chord_km == pytest.approx(haversine_km(*a, *b), rel=1e-6, abs=1e-6)


def test_unit_vectors_axes():
    np.testing.assert_allclose(unit_vectors([0, 0, 90], [0, 90, 0]), np.eye(3), atol=1e-15)
    assert unit_vectors(np.zeros((4, 1)), np.zeros(5)).shape == (4, 5, 3)


def test_valid_coordinates():
    lat = [90, -90, 90.001, 0, 0, np.nan, np.inf]
    lon = [180, -180, 0, 180.001, np.nan, 0, 0]
    assert is_valid_coordinate(lat, lon).tolist() == [True, True, False, False, False, False, False]


@pytest.mark.parametrize(
    "value",
    [
        "[46.167286, -7.099698]",
        " (46.167286, -7.099698) ",
        (46.167286, -7.099698),
        np.array([46.167286, -7.099698]),
    ],
)
def test_coordinates_are_parsed_exactly(value):
    coordinate = parse_coordinate(value)
    assert coordinate == (LAT, LON)
    assert [type(part) for part in coordinate] == [float, float]


@settings(deadline=None, max_examples=50)
@given(points)
def test_written_coordinates_are_read_back(a):
    assert parse_coordinate(str(list(a))) == a


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "expected"),
        ("46.1 7.1", "expected"),
        ("[46.1]", "expected"),
        ("[46.1, 7.1, 0]", "expected"),
        ("46.1", "expected"),
        ("[nan, 7.1]", "expected"),
        ("__import__('os').getcwd()", "expected"),
        ("'ab'", "expected"),
        (None, "expected"),
        (float("nan"), "expected"),
        ("['46.1', 7.1]", "latitude '46.1' is not a number"),
        ("[46.1, None]", "longitude None is not a number"),
        ((True, 7.1), "latitude True is not a number"),
        ((float("nan"), 7.1), "latitude nan is not between -90 and 90"),
        ("[90.5, 7.1]", "latitude 90.5 is not between -90 and 90"),
        ("[46.1, 1e999]", "longitude inf is not between -180 and 180"),
        (f"[46.1, {10**400}]", "is not between -180 and 180"),
    ],
)
def test_what_is_no_coordinate_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        parse_coordinate(value)
