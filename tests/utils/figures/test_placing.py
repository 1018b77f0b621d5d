"""Words that cover nothing."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.figures.frame import HEIGHT, WIDTH
from utils.figures.placing import Placer


@pytest.fixture
def placer():
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    found = Placer(axes, FigureCanvasAgg(figure).get_renderer())
    found.axes = axes
    found.extents = lambda: [text.get_window_extent(FigureCanvasAgg(figure).get_renderer()) for text in axes.texts]
    return found


def test_words_stand_beside_their_place(placer):
    placer.place(500, 250, 10, "Zermatt", size=8)
    (box,) = placer.extents()
    assert box.x0 == pytest.approx(513, abs=2)
    assert (box.y0 + box.y1) / 2 == pytest.approx(250, abs=1)


def test_many_words_do_not_overlap_and_stay_on_the_map(placer):
    places = np.random.default_rng(0).normal((500, 250), (60, 40), (30, 2))
    for x, y in places:
        placer.take_disc(x, y, 5)
    for x, y in [*places, (998, 2), (2, 498)]:
        assert placer.place(x, y, 5, "3, 5-7", far=True, size=8) is not None
    boxes = placer.extents()
    for number, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= WIDTH
        assert box.y0 >= 0
        assert box.y1 <= HEIGHT
        assert not any(box.overlaps(other) for other in boxes[:number])
        inside = (places > (box.x0, box.y0)) & (places < (box.x1, box.y1))
        assert not inside.all(1).any()
    assert len(placer.axes.lines) > 0  # leaders to those that moved away


def test_words_without_room_are_left_out(placer):
    placer.take((400, 200, 600, 300))
    assert placer.place(500, 250, 5, "Bern", size=8) is None
    assert placer.extents() == []
