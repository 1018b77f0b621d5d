"""Candidates, queries, and which of them are picked: on points that crowd together at the dateline and the poles."""

import numpy as np
import pytest
from geopy.distance import geodesic, great_circle
from hypothesis import example, given
from hypothesis import strategies as st

from utils.candidates import Candidate, Query, apart, distances_km, pick_candidates, prompt_texts
from utils.geography.geodesy import distance_matrix_km


def test_prompt_texts():
    given_names = dict.fromkeys(("neighbourhood", "county", "region"), "unused") | {
        "country": "Chile",
        "city": "",
    }
    assert prompt_texts(given_names | {"state": "Aysén"}) == ("Aysén", "Chile")


@pytest.mark.parametrize("point", [(90.5, 0), (0, 180.5), (float("nan"), 0), (0, float("inf"))])
def test_no_candidate_or_truth_off_the_earth(point):
    with pytest.raises(ValueError, match="not a coordinate"):
        Candidate(*point)
    with pytest.raises(ValueError, match="not a coordinate"):
        Query("photo.jpg", (), latitude=point[0], longitude=point[1])


def test_truth_is_whole_or_absent():
    assert Query("photo.jpg", ()).latitude is None
    with pytest.raises(ValueError, match="half a truth"):
        Query("photo.jpg", (), latitude=1.0)


# ---- near-duplicates ----

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


@given(crowds, crowds, radii | st.just(0), st.integers(0, 4), st.integers(0, 4))
@example([(0, 0), (0, 0.001), (5, 0)], [(0, 0.001), (5, 0.001), (9, 9)], 1.2, 2, 1)
def test_who_is_picked(retrieved, guessed, radius, topn, topn_zs):
    """The best that nobody better stands for; a guess yields only to what was taken."""
    found = [Candidate(*point, image=f"{number}.jpg") for number, point in enumerate(retrieved)]
    guesses = [Candidate(*point, source="generation") for point in guessed]
    picked = pick_candidates(found, guesses, topn, topn_zs, radius)
    best = [found[number] for number in apart(retrieved, radius)][:topn]
    assert list(picked[: len(best)]) == best
    taken = [(candidate.latitude, candidate.longitude) for candidate in best]
    assert list(picked[len(best) :]) == [guesses[number] for number in apart(guessed, radius, taken)][:topn_zs]


def test_distances_are_geodesic_kilometres_in_candidate_order():
    candidates = tuple(Candidate(5 + k / 100, -5 - k / 100) for k in range(1, 13))
    query = Query("query_5.jpg", candidates, latitude=5.005, longitude=-5.005)
    expected = [geodesic((query.latitude, query.longitude), (c.latitude, c.longitude)).km for c in query.candidates]
    assert distances_km(query) == pytest.approx(expected, rel=1e-12)


def test_the_nearest_is_the_nearest_on_the_ellipsoid():
    """A degree of latitude is shorter than one of longitude at the equator, though not on a sphere."""
    query = Query("q.jpg", (Candidate(1.0, 0.0), Candidate(0.0, 0.995)), latitude=0.0, longitude=0.0)
    on_the_sphere = [great_circle((0, 0), (c.latitude, c.longitude)).km for c in query.candidates]
    assert np.argmin(on_the_sphere) == 1
    assert np.argmin(distances_km(query)) == 0
