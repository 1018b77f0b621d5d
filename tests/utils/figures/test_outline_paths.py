"""Land and lines on maps, where flat ones tear, too."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

from tests.land import on_land
from utils.figures.frame import HEIGHT, WIDTH, close_up, whole_earth
from utils.figures.outline_paths import land_path, line_path

FRAMES = {
    "Alps": close_up(np.array([(46.17, 7.1), (44.17, 6.7)])),
    "Fiji, on the dateline": close_up(np.array([(-17.7, 178.1), (-16.5, -179.9)])),
    "Arctic": close_up(np.array([(75.0, 20.0), (70.0, -160.0)])),
    "Antarctic": close_up(np.array([(-75.0, 20.0), (-75.0, -160.0)])),
    "Pacific, whose antipode is Africa": close_up(np.array([(0.0, -150.0), (10.0, 170.0), (-30.0, -110.0)])),
    "Africa": close_up(np.array([(30.0, 0.0), (-30.0, 25.0), (10.0, 50.0)])),
    "Canada, whose antipode is Antarctica": close_up(np.array([(70.0, -100.0), (60.0, -80.0)])),
    "Caspian Sea": close_up(np.array([(45.0, 50.0), (38.0, 53.0)])),
    "Earth": whole_earth(0.0),
    "Earth from the Pacific": whole_earth(-170.0),
}


def filled(path):
    """(HEIGHT, WIDTH) whether each pixel of a map is filled, the lowest row first."""
    canvas = FigureCanvasAgg(Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100))
    axes = canvas.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.set_axis_off()
    axes.add_artist(PathPatch(path, facecolor="black", edgecolor="none"))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, 0] < 128


@pytest.mark.parametrize("name", FRAMES)
def test_land_lies_where_it_is(name):
    frame = FRAMES[name]
    across, up = (grid.ravel() for grid in np.meshgrid(np.arange(5, WIDTH, 20), np.arange(5, HEIGHT, 20)))
    expected = on_land(frame.degrees(np.stack([across, up], axis=1) + 0.5)[:, ::-1])
    assert (filled(land_path(frame))[up, across] == expected).mean() > 0.99


def test_no_line_leaps_across_a_map():
    for frame in FRAMES.values():
        for kind in ("land", "borders"):
            line = line_path(frame, kind)
            steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
            assert (steps[~np.isnan(steps)] * frame.km_per_pixel < 250).all()  # a point at least every degree, 111 km
            assert np.isnan(line[[0, -1]]).all()


def test_islands_are_not_cut_by_the_dateline():
    """Taveuni, of which Natural Earth has two halves."""
    frame = FRAMES["Fiji, on the dateline"]
    line = line_path(frame, "land")
    places = frame.degrees(line)
    on_the_line = np.abs(np.abs(places[:, 1]) - 180) < 1e-6
    assert not np.any(on_the_line[1:] & on_the_line[:-1])
