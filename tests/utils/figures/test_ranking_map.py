"""The whole picture: what stands on it, where, and that all of it can be read."""

import re

import numpy as np
import pytest
from geopy.distance import geodesic
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.projections.geo import LambertAxes
from PIL import Image

from tests.figures import part, pixels, words
from utils.figures.captions import CREDIT
from utils.figures.frame import HEIGHT, WIDTH, frame_around
from utils.figures.layout import MAP_BOX
from utils.figures.marks import TRUTH_COLOUR
from utils.figures.ranking_map import ranking_map
from utils.geography.discs import region

ALPS = [(46.17, 7.1), (44.17, 6.7), (45.9, 6.87), (43.3, -0.37), (45.1, 9.7)]
FIJI = [(-17.7, 178.1), (-16.8, 179.9), (-16.5, -179.9), (-18.6, -178.9), (-15.8, -179.8)]
POLE = [(89.2, 10.0), (88.6, -170.0), (87.0, 95.0), (88.0, -60.0), (86.0, 20.0)]
SHARES = [0.3, 0.4, 0.1, 0.15, 0.05]


def scattered(seed, count, spread, outliers=()):
    points = np.random.default_rng(seed).normal((45, 179), (spread, 1.4 * spread), (count, 2))
    points[:, 1] = (points[:, 1] + 180) % 360 - 180
    return [*points.tolist(), *outliers]


def on_the_map(picture):
    left, bottom, width, height = MAP_BOX
    return picture[len(picture) - bottom - height : len(picture) - bottom, left : left + width][::-1]


def spot(picture, colour):
    """Column and row of the middle of all pixels of a colour."""
    rows, columns = np.nonzero((abs(picture - 255 * np.array(to_rgb(colour))) < 12).all(axis=-1))
    return (columns.min() + columns.max()) / 2, rows.mean()


def test_the_map_is_written_in_its_size(tmp_path):
    assert pixels(ranking_map(ALPS, SHARES, 1), tmp_path).shape == (650, 1500, 3)


@pytest.mark.parametrize(
    ("points", "truth"),
    [
        (ALPS, (46.167, 7.1)),
        (ALPS, (47.0, 3.0)),
        (FIJI, (-17.9, -179.6)),
        (FIJI, (-18.0, 179.0)),
        (POLE, (89.0, 130.0)),
    ],
)
def test_the_truth_stands_at_its_place(points, truth, tmp_path):
    """Within a pixel or two of where matplotlib's own projection puts it, as it is drawn."""
    figure = ranking_map(points, SHARES, 1, truth=truth)
    frame = frame_around(np.array(points), np.array(SHARES), 1, truth)
    middle = np.radians([frame.projection.longitude, frame.projection.latitude])
    theirs = LambertAxes.LambertTransform(*middle, 1)
    found = part(figure, "map").collections
    ring = next(circle for circle in found if circle.get_zorder() == 4.2).get_offsets()[0]
    x, y = 6371.0088 * theirs.transform_non_affine(np.radians([truth[::-1], points[1][::-1]])).T
    # Corners may have asked for a wider frame: the answer's ring says how wide.
    per_pixel = np.hypot(x[1], y[1]) / np.hypot(*(ring - (WIDTH / 2, HEIGHT / 2)))
    expected = WIDTH / 2 + x[0] / per_pixel, HEIGHT / 2 + y[0] / per_pixel
    assert spot(on_the_map(pixels(figure, tmp_path)), TRUTH_COLOUR) == pytest.approx(expected, abs=2.5)


def test_the_scale_bar_fits_the_places():
    """Two candidates beside each other near the bar are as far apart as it says."""
    points = [(45.0, 7.0), (45.0, 9.0), (47.0, 8.0)]
    axes = part(ranking_map(points, [0.5, 0.3, 0.2], 0), "map")
    dots = [circle.get_offsets()[0] for circle in axes.collections if circle.get_zorder() == 4.5]
    apart = abs(dots[0][0] - dots[1][0])
    (bar,) = (np.ptp(line.get_xdata()) for line in axes.lines if line.get_gid() == "scale bar")
    (shown,) = (int(word.removesuffix(" km")) for word in words(axes) if re.fullmatch(r"\d+ km", word))
    assert bar / apart == pytest.approx(shown / geodesic(*points[:2]).km, rel=0.02)


NUMBERED = re.compile(r"([\d, -]+)( · .*)?")
MANY = {
    "dense": (scattered(1, 20, 0.1), 0),
    "spread": (scattered(2, 20, 6), 3),
    "with outliers": (scattered(3, 16, 0.5, [(-37.8, 145), (48.1, 11.6), (-23.5, -46.6), (64.1, -21.9)]), 0),
    "in one place": ([(45.0, 7.0)] * 20, 0),
    "everywhere": ([(0, 0), (10, 120), (-40, -70), (60, -120), (70, 100), *scattered(4, 15, 30)], 0),
}


@pytest.mark.parametrize("name", MANY)
def test_every_number_can_be_read(name):
    points, predicted = MANY[name]
    shares = 0.7 ** np.arange(20)
    figure = ranking_map(points, shares / shares.sum(), predicted, truth=points[0])
    axes = part(figure, "map")
    numbers = []
    for found in filter(None, map(NUMBERED.fullmatch, words(axes))):
        for few in found[1].split(", "):
            first, *last = map(int, few.split("-"))
            numbers += range(first, (last or [first])[0] + 1)
    assert sorted(numbers) == list(range(1, 21))
    boxes = [text.get_window_extent(FigureCanvasAgg(figure).get_renderer()) for text in axes.texts]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert box.x0 >= MAP_BOX[0] - 10  # the number of a marker on the edge of the Earth
        assert box.x1 <= MAP_BOX[0] + WIDTH + 10


def test_the_inset_shows_what_is_outside_and_the_whole_earth_needs_none():
    points = [*ALPS, (-30.0, 140.0)]
    figure = ranking_map(points, [*(0.99 * np.array(SHARES)), 0.01], 1, truth=(-43.6, 170.1))
    (away,) = part(figure, "inset").collections
    assert away.get_offsets()[0].tolist() == pytest.approx([140 / 360 * WIDTH + 500, -30 / 180 * HEIGHT + 250])
    assert len(away.get_offsets()) == 1
    assert "truth · 18,688 km" in " ".join(words(part(figure, "map")))
    figure = ranking_map([(0, 0), (0, 120), (0, -120), (0, -179.9), (0, 179.9)], [0.2] * 5, 0)
    assert [axes.get_label() for axes in figure.axes] == ["map", "list"]
    assert not any("km" in word and "equator" not in word for word in words(part(figure, "map")))


def test_a_distant_disc_of_a_region_is_named():
    points = [*ALPS, (-30.0, 140.0)]
    regions = {90: region([ALPS[1], points[5]], [150, 60]), 80: region([points[5]], [60]), 50: region(ALPS[1:2], [60])}
    figure = ranking_map(points, [*(0.99 * np.array(SHARES)), 0.01], 1, regions=regions)
    said = words(part(figure, "map"))
    assert {"50%", "90%"} <= set(said)
    assert any(word.startswith("6 · 15,") and word.endswith("in the 90% region") for word in said)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[-2:] == [
        "region that holds the truth 50% of the time, 11,000 km²",
        "region that holds the truth 90% of the time, 82,000 km²",
    ]


def test_the_list_and_the_title_name_places_distance_and_sources():
    labels = [
        "Martigny",
        "$Barcelonnette$",
        "Chamonix",
        "Laruns",
        "12 km from a place with a very long name, in a county with a long one, far away from here",
    ]
    figure = ranking_map(ALPS, SHARES, 1, truth=(46.167, 7.1), labels=labels, photo=Image.new("RGB", (30, 20)))
    listed = words(part(figure, "list"))
    assert [word for word in listed if word in labels] == ["$Barcelonnette$", "Martigny", "Laruns", "Chamonix"]
    assert [word for word in listed if word.endswith("%")] == ["40.0%", "30.0%", "15.0%", "10.0%", "5.0%"]
    assert labels[4] in " ".join(listed)
    assert "truth: 46.167° N, 7.100° E" in listed
    title, below, credit = [text.get_text() for text in figure.texts]
    assert title == "$Barcelonnette$"
    assert below == "44.170° N, 6.700° E  ·  224.2 km from the truth"
    assert credit == CREDIT


def test_an_answer_that_is_not_sure_says_so():
    figure = ranking_map(ALPS, SHARES, 1, labels=["Bern", "9 km from Gap, France", "c", "d", "e"], sure=False)
    assert figure.texts[0].get_text() == "Not sure; the best candidate: 9 km from Gap, France"


def test_the_list_says_how_many_it_leaves_out():
    points = scattered(5, 30, 3)
    shares = np.linspace(30, 1, 30) / np.linspace(30, 1, 30).sum()
    listed = words(part(ranking_map(points, shares, 0, photo=Image.new("RGB", (40, 30)), truth=points[0]), "list"))
    shown = [float(word[:-1]) for word in listed if re.fullmatch(r"[\d.]+%", word)]
    (rest,) = (word for word in listed if word.startswith("and "))
    left_out, share = re.fullmatch(r"and (\d+) more, together ([\d.]+)%", rest).groups()
    assert len(shown) + int(left_out) == 30
    assert sum(shown) + float(share) == pytest.approx(100, abs=0.5)


def test_without_labels_the_list_shows_coordinates():
    figure = ranking_map(FIJI, SHARES, 2)
    assert "16.500° S, 179.900° W" in words(part(figure, "list"))
    assert figure.texts[0].get_text() == "16.500° S, 179.900° W"


def test_the_photo_is_shown(tmp_path):
    figure = ranking_map(ALPS, SHARES, 0, photo=Image.new("RGB", (40, 40), "#12c834"))
    assert ((pixels(figure, tmp_path) == (0x12, 0xC8, 0x34)).all(axis=-1)).sum() == pytest.approx(212**2, rel=0.02)


def test_a_large_photo_is_drawn_as_it_looks_and_not_with_all_its_pixels(tmp_path):
    """Left half red, right half blue; matplotlib is given no more than a few times what is drawn."""
    small, large = (Image.new("RGB", size, "red") for size in ((386, 200), (5790, 3000)))
    for photo in (small, large):
        photo.paste("blue", (photo.width // 2, 0, photo.width, photo.height))
    pictures = []
    for photo in (small, large):
        figure = ranking_map(ALPS, SHARES, 1, photo=photo)
        (drawn,) = part(figure, "photo").get_images()
        assert drawn.get_array().shape[:2] == ((200, 386) if photo is small else (800, 1544))
        pictures.append(pixels(figure, tmp_path).astype(int))
    assert abs(pictures[0] - pictures[1]).mean() < 0.5
    assert photo.size == (5790, 3000)
