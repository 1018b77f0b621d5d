"""The outlines against points known to be land or sea, the towns of GeoNames, and the format's own example."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.land import on_land
from utils.geography.gazetteer import Gazetteer
from utils.geography.outlines import decoded, encoded, outlines


def test_the_format_is_the_published_one():
    """The worked example of Google's description of the format."""
    line = np.array([(3850000, -12020000), (4070000, -12095000), (4325200, -12645300)])
    assert encoded(line) == "_p~iF~ps|U_ulLnnqC_mqNvxq`@"
    assert decoded("_p~iF~ps|U_ulLnnqC_mqNvxq`@").tolist() == line.tolist()


numbers = st.integers(-72_000, 72_000)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_lines_come_back(points):
    assert decoded(encoded(np.array(points))).tolist() == [list(point) for point in points]


def test_land_is_land_and_sea_is_sea():
    land = [(2.35, 48.85), (-98, 39), (134, -25), (178.0, -17.8), (179.0, 67.0), (-179.0, 67.0), (-42, 70), (90, -70)]
    sea = [(-30, 40), (-150, 0), (179.5, 0), (5.0, 42.0), (51.0, 42.0), (0, 89), (31, 43), (-90, 25)]
    assert on_land(np.array(land, float)).all()
    assert not on_land(np.array(sea, float)).any()


def test_large_towns_stand_on_land():
    """All but some that stand on a shore, which the outlines draw roughly."""
    towns = Gazetteer().towns(-180, -90, 180, 90, 500)[["longitude", "latitude"]].to_numpy()
    assert on_land(towns).mean() > 0.95
    assert on_land(np.add(towns, (1, 0))).mean() < 0.9  # a degree east they do not


def test_lines_do_not_leap_and_rings_close():
    for line in outlines().land + outlines().borders:
        assert abs(np.diff(line[:, 0])).max() < 180
    gaps = [ring[-1] - ring[0] for ring in outlines().land]
    (around_the_pole,) = [gap for gap in gaps if np.any(gap != 0)]
    assert around_the_pole == pytest.approx([360, 0])


def test_a_border_lies_where_it_is():
    """Where the meridian of 110 degrees west crosses from Mexico to the United States, and on to Canada."""
    crossed = []
    for line in outlines().borders:
        for (x, y), (next_x, next_y) in itertools.pairwise(line.tolist()):
            if (x + 110) * (next_x + 110) < 0:
                crossed.append(y + (next_y - y) * (-110 - x) / (next_x - x))
    assert sorted(crossed) == pytest.approx([31.333, 49], abs=0.01)
