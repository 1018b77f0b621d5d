import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.figures.words import Ruler


@pytest.fixture(scope="module")
def figure():
    figure = Figure(dpi=100)
    figure.renderer = FigureCanvasAgg(figure).get_renderer()
    return figure


@pytest.mark.parametrize("weight", ["normal", "bold"])
def test_words_are_as_wide_as_they_are_drawn(figure, weight):
    text = figure.text(0, 0, "12 km from Saint-Étienne", size=9, weight=weight)
    drawn = text.get_window_extent(figure.renderer).width
    assert Ruler(figure.renderer, 9, weight).width(text.get_text()) == pytest.approx(drawn, abs=1.5)


def test_words_are_shortened_only_where_they_are_too_wide(figure):
    ruler = Ruler(figure.renderer, 9)
    whole = ruler.width("Ljubljana, Slovenia")
    assert ruler.shortened("Ljubljana, Slovenia", whole) == "Ljubljana, Slovenia"
    short = ruler.shortened("Ljubljana, Slovenia", whole - 40)
    assert short.endswith("…")
    assert ruler.width(short) <= whole - 40
    assert ruler.shortened("Ljubljana, Slovenia", ruler.width("Ljubljana, …")) == "Ljubljana…"


def test_lines_hold_all_words_where_there_are_enough(figure):
    ruler = Ruler(figure.renderer, 9)
    name = "7 km from Betws-y-Coed, Conwy County Borough, Wales, United Kingdom"
    lines = ruler.in_lines(name, 180, 3)
    assert " ".join(lines) == name
    assert all(ruler.width(line) <= 180 for line in lines)
    assert ruler.in_lines("46 km from Wagga Wagga", ruler.width("46 km from Wagga"), 2) == ["46 km from Wagga", "Wagga"]
    assert len(ruler.in_lines(name, 180, 2)) == 2
    assert ruler.in_lines(name, 180, 2)[1].endswith("…")
    assert ruler.in_lines("Llanfairpwllgwyngyllgogerychwyrndrobwll", 100, 3)[0].endswith("…")
