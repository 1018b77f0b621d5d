"""The picture of what was stated shows the figures it is given."""

import numpy as np

from utils.figures.reliability import reliability_figure

BINS = {
    25: {"confidence": [0.1, 0.6], "correct": [0.15, 0.5], "count": [30, 10]},
    200: {"confidence": [0.95], "correct": [0.9], "count": [40]},
}


def test_lines_dots_and_labels_are_the_figures():
    figure = reliability_figure(BINS, {50: 51.5, 90: 88.25})
    chances, regions = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in chances.lines}
    np.testing.assert_allclose(lines["within 25 km"], [[10, 15], [60, 50]])
    np.testing.assert_allclose(lines["within 200 km"], [[95, 90]])
    sizes = chances.collections[0].get_sizes()
    assert sizes[0] > sizes[1]
    assert regions.lines[-1].get_xydata().tolist() == [[50, 51.5], [90, 88.25]]
    assert [text.get_text() for text in regions.texts] == ["51.5", "88.2"]
