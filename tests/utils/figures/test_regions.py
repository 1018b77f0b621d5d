"""Regions on maps: what is filled, and what is said of those that are larger."""

import numpy as np
import pytest
from geopy.distance import great_circle
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.figures.frame import HEIGHT, WIDTH, close_up, whole_earth
from utils.figures.placing import Placer
from utils.figures.regions import draw_regions
from utils.geography.discs import region


def drawn(frame, regions):
    """What is said of regions, and the outlines drawn: pixels (n, 2)."""
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT))
    everywhere = draw_regions(axes, Placer(axes, FigureCanvasAgg(figure).get_renderer()), frame, regions)
    lines = [found for found in axes.collections if not found.filled]
    return everywhere, [np.concatenate([path.vertices for path in found.get_paths()]) for found in lines], axes


@pytest.mark.parametrize("middle", [(46.0, 7.0), (0.0, 180.0), (89.5, 0.0), (-80.0, -179.0)])
def test_outlines_are_as_far_away_as_they_say(middle):
    frame = close_up(np.array([middle, (middle[0] - 3, middle[1])]))
    everywhere, (outline,), axes = drawn(frame, {50: region([middle], [120])})
    distances = [great_circle(middle, place).km for place in frame.degrees(outline).tolist()]
    assert everywhere == []
    assert distances == pytest.approx([120] * len(distances), rel=0.01)
    assert len(distances) > 50
    assert [text.get_text() for text in axes.texts] == ["50%"]


def test_discs_that_meet_have_one_outline():
    points = np.array([(46.0, 7.0), (46.0, 8.0)])
    frame = close_up(points)
    _, (outline,), _ = drawn(frame, {90: region(points, [60, 60])})
    distances = [min(great_circle(point, place).km for point in points) for place in frame.degrees(outline).tolist()]
    assert distances == pytest.approx([60] * len(distances), rel=0.02)


def test_a_region_larger_than_the_map_is_said_and_one_elsewhere_is_not_drawn():
    frame = close_up(np.array([(46.0, 7.0)]))
    everywhere, lines, _ = drawn(frame, {50: region([(-40.0, 170.0)], [300]), 90: region([(46.0, 7.0)], [3000])})
    assert everywhere == [90]
    assert lines == []


def test_a_disc_on_the_dateline_is_whole_on_the_earth():
    _, (outline,), _ = drawn(whole_earth(0.0), {50: region([(0.0, 180.0)], [1000])})
    assert (outline[:, 0] < 50).any()
    assert (outline[:, 0] > WIDTH - 50).any()
