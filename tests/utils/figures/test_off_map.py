"""Arrows to what lies outside of a map."""

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.figures import words
from utils.figures.frame import HEIGHT, WIDTH, close_up
from utils.figures.off_map import Outside, draw_outside
from utils.figures.placing import Placer

ALPS = close_up(np.array([(46.0, 7.0)]))


@pytest.fixture
def drawing():
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    return axes, Placer(axes, FigureCanvasAgg(figure).get_renderer())


def tips(axes):
    """Where each arrow points from and to, in pixels: its middle and its tip."""
    corners = [patch.get_xy() for patch in axes.patches]
    return [(found[2], found[0]) for found in corners]


@pytest.mark.parametrize("point", [(48.9, 2.4), (40.7, -74.0), (-33.9, 151.2), (35.7, 139.7), (-40.0, 150.0)])
def test_an_arrow_points_along_the_shortest_way(drawing, point):
    axes, placer = drawing
    draw_outside(axes, placer, ALPS, [Outside(point, 1234.4, 3)])
    ((back, tip),) = tips(axes)
    azimuth = Geodesic.WGS84.Inverse(46.0, 7.0, *point)["azi1"]
    drawn = np.degrees(np.arctan2(*(tip - back)))
    assert (drawn - azimuth + 180) % 360 - 180 == pytest.approx(0, abs=1)
    assert np.min([*back, WIDTH - back[0], HEIGHT - back[1]]) < 20
    assert words(axes) == ["3 · 1,234 km"]


def test_places_in_one_direction_share_an_arrow(drawing):
    axes, placer = drawing
    places = [
        Outside((40.7, -74.0), 6300, 2, "in the 90% region"),
        Outside((41.0, -75.0), 6380, 5),
        Outside((-33.9, 151.2), 16500, 4),
        Outside((38.9, -77.0), 9700, 6),
    ]
    draw_outside(axes, placer, ALPS, places)
    assert words(axes) == ["2, 5, 6 · 6,300-9,700 km · in the 90% region", "4 · 16,500 km"]


def test_the_truth_is_named_and_boxes_are_avoided(drawing):
    axes, placer = drawing
    placer.take((0, 0, WIDTH, HEIGHT / 2))
    draw_outside(axes, placer, ALPS, [Outside((-30.0, 7.0), 8400, None)])
    ((back, _),) = tips(axes)
    assert back[1] > HEIGHT / 2
    assert words(axes) == ["truth · 8,400 km"]
