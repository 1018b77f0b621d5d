"""The Earth in the corner, and the close-up's mark on it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from utils.figures.frame import WIDTH, close_up
from utils.figures.inset import MARK, draw_inset


def mark(points):
    """The mark of a close-up on its inset, (n, 2) pixels, and the inset's frame."""
    frame = close_up(np.array(points))
    axes = Figure().add_subplot()
    earth = draw_inset(axes, frame)
    (line,) = (line for line in axes.lines if line.get_color() == MARK)
    return np.stack(line.get_data(), axis=1), frame, earth


def test_the_mark_is_the_edge_of_the_close_up():
    edge, frame, earth = mark([(60.0, 25.0), (37.0, -8.0)])
    held = frame.pixels(earth.degrees(edge))
    at_an_edge = np.min(np.abs(np.concatenate([held, held - (WIDTH, WIDTH / 2)], axis=1)), axis=1)
    assert at_an_edge == pytest.approx(np.zeros(len(edge)), abs=0.01)


def test_a_small_close_up_is_marked_by_its_middle():
    middle, _, earth = mark([(-41.3, 174.8)])
    assert earth.degrees(middle[0]) == pytest.approx([-41.3, 174.8])
    assert 100 < middle[0][0] < WIDTH - 100  # the Pacific is in the middle of that Earth


def test_a_mark_around_the_pole_runs_across_the_earth():
    edge, _, _ = mark([(89.0, 0.0), (85.0, 100.0), (86.0, -90.0)])
    leaps = np.abs(np.diff(edge[:, 0]))
    assert np.isnan(edge).any()
    assert np.nanmax(leaps) < WIDTH / 2
    assert np.ptp(edge[~np.isnan(edge[:, 0]), 0]) > 0.9 * WIDTH
