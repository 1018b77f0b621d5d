import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from tests.figures import pixels
from utils.figures.ranking_map import CREDIT, MAP_BOX, MAP_RATIO, TRUTH_COLOUR, View, ranking_map

ALPS = [(46.17, 7.1), (44.17, 6.7), (45.9, 6.87), (43.3, -0.37), (61.2, 6.7)]
FIJI = [(-17.7, 178.1), (-16.8, 179.9), (-16.5, -179.9), (-18.6, -173.9), (-13.8, -171.8)]
SHARES = [0.3, 0.4, 0.1, 0.15, 0.05]


def on_the_map(picture):
    left, bottom, width, height = MAP_BOX
    return picture[len(picture) - bottom - height : len(picture) - bottom, left : left + width]


def spot(picture, colour):
    """Row and column of the lowest blob of a colour: the foot of the truth's pin."""
    rows, columns = np.nonzero((abs(picture - 255 * np.array(to_rgb(colour))) < 12).all(axis=-1))
    foot = rows > rows.max() - 6
    return rows[foot].mean(), columns[foot].mean()


def test_the_map_is_written_in_its_size(tmp_path):
    assert pixels(ranking_map(ALPS, SHARES, 1), tmp_path).shape == (610, 1500, 3)


@pytest.mark.parametrize(
    ("points", "centre", "truth"),
    [
        (ALPS, 6.7, (46.167, 7.1)),
        (ALPS, 6.7, (52.0, -2.0)),
        (FIJI, 179.9, (-16.9, -177.0)),
        (FIJI, 179.9, (-18.0, 179.0)),
    ],
)
def test_the_truth_stands_at_its_place(points, centre, truth, tmp_path):
    figure = ranking_map(points, SHARES, 1, truth=truth)
    row, column = spot(on_the_map(pixels(figure, tmp_path)), TRUTH_COLOUR)
    (west, east), (south, north) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    x = truth[1] - centre + (360 if centre - truth[1] > 180 else 0)
    assert column == pytest.approx((x - west) / (east - west) * MAP_BOX[2], abs=3)
    assert row == pytest.approx((north - truth[0]) / (north - south) * MAP_BOX[3], abs=5)


@pytest.mark.parametrize("predicted", [0, 1])
def test_the_background_shows_the_ground_of_the_window(predicted, tmp_path):
    """Lake Victoria is blue and the Sahara is not, where their coordinates say, whatever the centre."""
    points = [(-20.0, 20.0), (30.0, 45.0)]
    figure = ranking_map(points, [0.5, 0.5], predicted)
    picture = on_the_map(pixels(figure, tmp_path))
    (west, east), (south, north) = figure.axes[0].get_xlim(), figure.axes[0].get_ylim()
    lake, desert = (
        picture[
            int((north - latitude) / (north - south) * MAP_BOX[3]),
            int((longitude - points[predicted][1] - west) / (east - west) * MAP_BOX[2]),
        ]
        for latitude, longitude in [(-1.0, 33.0), (22.0, 25.0)]
    )
    assert lake[2] > lake[0]
    assert desert[0] > desert[2] + 30


def test_the_background_runs_on_across_the_dateline(tmp_path):
    """A window on the Bering Strait looks the same from either side of longitude 180, without a seam."""
    points = [(66.0, 179.0), (67.0, -176.0)]
    pictures = []
    for predicted in (0, 1):
        figure = ranking_map(points, [0.5, 0.5], predicted)
        figure.axes[0].grid(False)
        pictures.append(on_the_map(pixels(figure, tmp_path)))
    different = abs(pictures[0] - pictures[1]).max(axis=-1) > 12
    assert different.mean() < 0.01  # the ring and the numbers around the prediction

    west, east = figure.axes[0].get_xlim()
    dateline = int((180 - (-176 + 360) - west) / (east - west) * MAP_BOX[2])
    steps = abs(np.diff(pictures[1].sum(axis=-1), axis=1)).mean(axis=0)
    assert steps[dateline - 8 : dateline + 8].max() < np.delete(steps, np.s_[dateline - 8 : dateline + 8]).max()


longitudes = st.floats(-180, 180)
places = st.lists(st.tuples(st.floats(-90, 90), longitudes), min_size=1, max_size=6)


@settings(deadline=None, max_examples=200)
@given(places)
def test_the_window_holds_everything_and_stays_on_the_earth(points):
    view = View.around(np.array(points), points[0][1])
    x, y = view.xy(*np.array(points).T)
    slack = 1e-9
    assert ((view.west - slack <= x) & (x <= view.east + slack)).all()
    assert ((view.south - slack <= y) & (y <= view.north + slack)).all()
    assert -180 - slack <= view.west < view.east <= 180 + slack
    assert -90 - slack <= view.south < view.north <= 90 + slack
    assert (x[0] + view.centre - points[0][1]) % 360 == pytest.approx(0, abs=1e-6)


def test_an_outlier_nobody_believes_does_not_widen_the_window():
    def span(share: float) -> float:
        west, east = ranking_map([*ALPS, (-30.0, 140.0)], [*SHARES, share], 1).axes[0].get_xlim()
        return east - west

    assert span(0.005) < span(0.02) / 3


def test_an_improbable_prediction_is_still_on_the_map():
    axes = ranking_map([*ALPS, (30.0, 20.0)], [*SHARES, 0.001], 5).axes[0]
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]
    assert axes.get_ylim()[0] < 30 < axes.get_ylim()[1]


def test_a_regional_window_keeps_shapes():
    view = View.around(np.array([(46.0, 7.0), (50.0, 9.0)]), 7.0)
    assert np.cos(np.radians(48)) * (view.east - view.west) / (view.north - view.south) == pytest.approx(MAP_RATIO)


def test_the_window_is_small_across_the_dateline():
    view = View.around(np.array(FIJI), 179.9)
    assert view.east - view.west < 30


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_the_list_names_the_likeliest_and_the_map_its_distance_and_source():
    labels = [
        "Martigny",
        "$Barcelonnette$",
        "Chamonix",
        "Laruns",
        "A place with a very long name, far too long",
    ]
    figure = ranking_map(ALPS, SHARES, 1, truth=(46.167, 7.1), labels=labels, photo=Image.new("RGB", (30, 20)))
    world, _, panel = figure.axes
    listed = words(panel)
    assert [word for word in listed if word in labels] == [
        "$Barcelonnette$",
        "Martigny",
        "Laruns",
        "Chamonix",
    ]
    assert [word for word in listed if word.endswith("%")] == ["40.0%", "30.0%", "15.0%", "10.0%", "5.0%"]
    assert any(word.startswith("A place with") and word.endswith("…") for word in listed)
    assert "truth: 46.167° N, 7.100° E" in listed
    assert world.get_title(loc="left") == "Predicted 44.170° N, 6.700° E  ·  224.2 km from the truth"
    assert CREDIT in [text.get_text() for text in figure.texts]


def test_without_labels_the_list_shows_coordinates():
    figure = ranking_map(FIJI, SHARES, 2)
    assert "16.500° S, 179.900° W" in words(figure.axes[1])


def test_numbers_on_the_map_do_not_overlap():
    close = [(46.0, 7.0), (46.0, 7.01), (46.01, 7.0), (50.0, 20.0)]
    figure = ranking_map(close, [0.4, 0.3, 0.2, 0.1], 0)
    assert words(figure.axes[0]) == ["1", "4"]


def test_the_photo_is_shown(tmp_path):
    figure = ranking_map(ALPS, SHARES, 0, photo=Image.new("RGB", (40, 40), "#12c834"))
    assert ((pixels(figure, tmp_path) == (0x12, 0xC8, 0x34)).all(axis=-1)).sum() == pytest.approx(212**2, rel=0.02)


def test_a_large_photo_is_drawn_as_it_looks_and_not_with_all_its_pixels(tmp_path):
    """Left half red, right half blue; matplotlib is given no more than a few times what is drawn."""
    small, large = (Image.new("RGB", size, "red") for size in ((390, 200), (5850, 3000)))
    for photo in (small, large):
        photo.paste("blue", (photo.width // 2, 0, photo.width, photo.height))
    pictures = []
    for photo in (small, large):
        figure = ranking_map(ALPS, SHARES, 1, photo=photo)
        ((drawn,),) = (axes.get_images() for axes in figure.axes[1:2])
        assert drawn.get_array().shape[:2] == ((200, 390) if photo is small else (800, 1560))
        pictures.append(pixels(figure, tmp_path).astype(int))
    assert abs(pictures[0] - pictures[1]).mean() < 0.5
    assert photo.size == (5850, 3000)
