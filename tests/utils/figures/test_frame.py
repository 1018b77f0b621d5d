"""What a map frames: the likely places, wherever on Earth they lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.figures.frame import HEIGHT, LEAST_KM, MARGIN, WIDTH, frame_around, likely
from utils.geography.discs import Disc

ALPS = np.array([(46.17, 7.1), (44.17, 6.7), (45.9, 6.87), (43.3, -0.37), (47.2, 9.7)])
SHARES = np.array([0.3, 0.4, 0.1, 0.15, 0.05])
PERTH = (-32.0, 115.9)


def with_outlier(share):
    return np.vstack([ALPS, PERTH]), np.append(SHARES * (1 - share), share)


def test_an_outlier_nobody_believes_stays_outside():
    alone = frame_around(ALPS, SHARES, 1)
    points, shares = with_outlier(0.05)
    frame = frame_around(points, shares, 1)
    assert frame.km_per_pixel == pytest.approx(alone.km_per_pixel)
    assert frame.holds(points).tolist() == [True] * 5 + [False]


def test_a_likely_place_is_framed_however_far():
    points, shares = with_outlier(0.45)
    assert frame_around(points, shares, 1).holds(points).all()


def test_an_improbable_answer_is_framed():
    points, shares = with_outlier(0.001)
    frame = frame_around(points, shares, 5)
    assert frame.holds(points[5])


def test_of_two_groups_the_frame_takes_what_the_second_is_worth():
    points = np.array([(46, 7), (46.5, 7), (51, 0)])
    assert likely(points, np.array([0.5, 0.45, 0.05]), 0).tolist() == [0, 1]
    assert sorted(likely(points, np.array([0.4, 0.3, 0.3]), 0).tolist()) == [0, 1, 2]


places = st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=150)
@given(places, st.floats(-180, 180))
def test_all_that_is_likely_is_held_wherever_it_lies(found, turn):
    points = np.array(found)
    shares = np.full(len(points), 1 / len(points))
    frame = frame_around(points, shares, 0)
    chosen = likely(points, shares, 0)
    assert 0 in chosen
    assert frame.holds(points[chosen], 0 if frame.whole_earth else MARGIN - 1).all()
    turned = np.add(points, (0, turn))
    turned[:, 1] = (turned[:, 1] + 180) % 360 - 180
    again = frame_around(turned, shares, 0)
    assert again.km_per_pixel == pytest.approx(frame.km_per_pixel, rel=0.02)


@pytest.mark.parametrize(
    "points",
    [
        [(-17.7, 178.1), (-16.8, 179.9), (-16.5, -179.9)],  # the dateline
        [(89.9, 0.0), (89.8, 120.0), (89.9, -100.0)],  # the poles
        [(-89.0, 30.0), (-89.5, -150.0)],
    ],
)
def test_close_ups_are_close_where_flat_maps_tear(points):
    frame = frame_around(np.array(points), np.full(len(points), 1 / len(points)), 0)
    assert frame.km_per_pixel * WIDTH < 1000
    assert frame.holds(points).all()


def test_the_box_holds_the_map():
    for points in ([(-17.7, 179.9)], [(89.9, 0.0), (86.0, 50.0)], [(-88.0, 10.0)], [(10.0, 20.0), (60.0, -50.0)]):
        frame = frame_around(np.array(points), np.full(len(points), 1 / len(points)), 0)
        west, south, east, north = frame.box()
        latitude, longitude = np.moveaxis(frame.grid(50), -1, 0)
        assert (latitude >= south - 0.1).all()
        assert (latitude <= north + 0.1).all()
        assert (west + (longitude - west + 0.1) % 360 <= east + 0.2).all()


def test_a_single_place_has_the_least_frame_around_it():
    frame = frame_around(np.array([(35.0, 139.0)]), np.array([1.0]), 0)
    assert frame.km_per_pixel * HEIGHT == pytest.approx(LEAST_KM)
    assert frame.pixels((35.0, 139.0)) == pytest.approx([WIDTH / 2, HEIGHT / 2])


def test_the_truth_is_framed_unless_it_would_stretch_the_map():
    for truth, held in (((45.0, 9.0), True), ((48.0, 12.0), True), ((-43.6, 170.1), False)):
        assert frame_around(ALPS, SHARES, 1, truth).holds(truth) == held


def test_discs_are_framed_unless_they_would_stretch_the_map():
    near, large = Disc(44.17, 6.7, 700.0), Disc(44.17, 6.7, 5000.0)
    assert frame_around(ALPS, SHARES, 1, discs=[near]).holds(near.boundary(32)).all()
    assert frame_around(ALPS, SHARES, 1, discs=[large]) == frame_around(ALPS, SHARES, 1)


def test_places_around_the_earth_show_all_of_it():
    points = np.array([(40.0, -100.0), (50.0, 10.0), (-30.0, 150.0)])
    frame = frame_around(points, np.full(3, 1 / 3), 2)
    assert frame.whole_earth
    assert frame.pixels(points[2])[0] == pytest.approx(WIDTH / 2)
    assert frame.pixels([(90, 0), (-90, 0)])[:, 1] == pytest.approx([HEIGHT, 0])
