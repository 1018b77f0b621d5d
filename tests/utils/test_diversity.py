"""Merging near-duplicates: what the rule promises, on points that crowd together at the dateline and the poles."""

import numpy as np
from geopy.distance import great_circle
from hypothesis import given
from hypothesis import strategies as st

from utils.candidates import apart
from utils.geography.geodesy import distance_matrix_km

corner = st.sampled_from([(0.0, 0.0), (0.0, 179.999), (89.999, 45.0), (-90.0, 10.0), (46.17, 7.1)])
crowded = st.builds(
    lambda centre, north, east: (
        float(np.clip(centre[0] + north / 100, -90, 90)),
        (centre[1] + east / 100 + 180) % 360 - 180,
    ),
    corner,
    st.integers(-3, 3),
    st.integers(-3, 3),
)
crowds = st.lists(crowded, max_size=20)
radii = st.sampled_from([0.3, 1.2, 2.5, 25.0])


@given(crowds, radii, st.lists(crowded, max_size=3))
def test_what_remains_is_apart_and_what_is_dropped_lies_near_a_better_one(points, radius, taken):
    kept = apart(points, radius, taken)
    assert kept == sorted(set(kept))
    within = distance_matrix_km([*taken, *points]) <= radius
    positions = [len(taken) + number for number in kept]
    for number in range(len(points)):
        row = len(taken) + number
        better = [*range(len(taken)), *(position for position in positions if position < row)]
        assert (number in kept) == (not within[row, better].any())


@given(crowds)
def test_off_is_the_identity(points):
    assert apart(points, 0) == list(range(len(points)))


@given(crowds, radii)
def test_merging_again_changes_nothing(points, radius):
    remaining = [points[number] for number in apart(points, radius)]
    assert apart(remaining, radius) == list(range(len(remaining)))


def test_the_radius_is_a_distance_on_the_sphere():
    pairs = [
        ((-16.85, 179.999), (-16.85, -179.999)),
        ((89.9999, 0.0), (89.9999, 180.0)),
        ((60.0, 10.0), (60.0, 10.004)),
    ]
    for first, second in pairs:
        distance = great_circle(first, second).km
        assert apart([first, second], 1.001 * distance) == [0]
        assert apart([first, second], 0.999 * distance) == [0, 1]


def test_a_chain_is_cut_at_its_best():
    # 0.9 km apart each: the second falls to the first, so the third has nobody near.
    chain = [(0.0, 0.0), (0.0081, 0.0), (0.0162, 0.0)]
    assert apart(chain, 1.0) == [0, 2]
    assert apart(chain, 1.0, taken=[(0.0162, 0.0)]) == [0]
