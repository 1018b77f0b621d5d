"""The length of scale bars against geopy."""

import numpy as np
import pytest
from geopy.distance import geodesic

from utils.figures.frame import close_up, whole_earth
from utils.figures.scale_bar import LONGEST, bar_length

PLACES = {
    "Quito": [(0.0, -78.5)],
    "Svalbard": [(78.0, 15.0), (80.0, 30.0)],
    "pole": [(89.9, 0.0), (85.0, 90.0)],
    "dateline": [(-17.0, 179.0), (-16.0, -178.0)],
    "Europe": [(60.0, 25.0), (37.0, -8.0)],
    "Africa": [(30.0, 0.0), (-30.0, 25.0)],
}


@pytest.mark.parametrize("name", PLACES)
def test_the_bar_is_true_where_it_lies(name):
    frame = close_up(np.array(PLACES[name]))
    for x, y in ((22, 21), (800, 21)):
        shown, length = bar_length(frame, x, y)
        start, end = frame.degrees([(x, y), (x + length, y)]).tolist()
        assert geodesic(start, end).km == pytest.approx(shown, rel=0.001)
        assert LONGEST / 2.6 < length <= LONGEST
        assert str(shown).strip("0") in {"1", "2", "5"}


def test_on_the_whole_earth_it_is_true_at_the_equator():
    frame = whole_earth(170.0)
    shown, length = bar_length(frame, 20, 250)
    assert length / 1000 * 40_075 == pytest.approx(shown, rel=0.002)
