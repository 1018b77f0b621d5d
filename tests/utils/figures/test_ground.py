"""What lies under a map, as it is drawn."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from utils.figures.frame import HEIGHT, WIDTH, close_up, whole_earth
from utils.figures.ground import SEA, draw_ground, meridian_text, parallel_text


def drawn(frame):
    """(HEIGHT, WIDTH, 3) pixels of a map without its graticule, the lowest row first, and its axes."""
    canvas = FigureCanvasAgg(Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100))
    axes = canvas.figure.add_axes((0, 0, 1, 1))
    draw_ground(axes, frame)
    for line in [line for line in axes.lines if line.get_zorder() == 1.1]:
        line.remove()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, :3].astype(int), axes


def colour(picture, frame, latitude, longitude):
    column, row = frame.pixels((latitude, longitude)).astype(int)
    return picture[row, column]


@pytest.mark.parametrize(
    "frame", [close_up(np.array([(-20.0, 20.0), (30.0, 45.0)])), whole_earth(0.0), whole_earth(99.0)]
)
def test_the_ground_lies_where_it_is(frame):
    """Lake Victoria is blue, the Sahara is not, and the sea has the sea's colour."""
    picture, _ = drawn(frame)
    lake, desert, sea = (
        colour(picture, frame, latitude, longitude)
        for latitude, longitude in [(-1.7, 33.0), (23.5, 27.0), (-10.0, 60.0)]
    )
    assert lake[2] > lake[0] + 20
    assert desert[0] > desert[2] + 20
    assert sea == pytest.approx(255 * np.array(to_rgb(SEA)), abs=1)


def test_the_ground_runs_on_across_the_dateline():
    """Chukotka, longitude 180 in the middle of the map: no step between the columns there."""
    frame = close_up(np.array([(67.0, 177.5), (67.0, -177.5), (65.8, 180.0), (68.2, 180.0)]))
    picture, _ = drawn(frame)
    assert frame.degrees((WIDTH / 2, HEIGHT / 2))[1] == pytest.approx(-180)
    steps = abs(np.diff(picture.sum(axis=-1), axis=1)).mean(axis=0)
    middle = slice(WIDTH // 2 - 5, WIDTH // 2 + 5)
    assert steps[middle].max() < np.delete(steps, middle).max()


def test_closer_maps_are_plainer():
    """Blue Marble, 7 km a pixel, fades where it would only be a blur."""
    opacity = [
        drawn(frame)[1].images[0].get_array()[..., 3].min()
        for frame in (close_up(np.array([(46.0, 7.0)])), close_up(np.array([(46.0, 7.0), (30.0, 60.0)])))
    ]
    assert opacity[0] < opacity[1] - 0.15


def test_ticks_say_where_lines_leave_the_map():
    frame = close_up(np.array([(-17.7, 178.1), (-16.0, -178.0)]))
    _, axes = drawn(frame)
    found = dict(zip((text.get_text() for text in axes.get_xticklabels()), axes.get_xticks(), strict=True))
    assert {"179°E", "180°", "179°W"} <= found.keys()
    assert frame.degrees((found["179°W"], 0))[1] == pytest.approx(-179, abs=0.01)
    found = dict(zip((text.get_text() for text in axes.get_yticklabels()), axes.get_yticks(), strict=True))
    assert frame.degrees((0, found["17°S"]))[0] == pytest.approx(-17, abs=0.01)


def test_degrees_in_words():
    assert [meridian_text(x) for x in (-190, -180, -0.5, 0, 7.25, 180, 190)] == [
        "170°E",
        "180°",
        "0.5°W",
        "0°",
        "7.25°E",
        "180°",
        "170°W",
    ]
    assert [parallel_text(y) for y in (-30, 0, 45.5)] == ["30°S", "0°", "45.5°N"]
