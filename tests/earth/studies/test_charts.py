import numpy as np
import pytest

from earth.studies import charts
from earth.studies.ablation_results import paired_difference
from tests.earth.studies.results import TILES, ablation_results, confidence_result, scaling_result


def drawn(panel):
    """The lines of a legend: name -> (x, y)."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in panel.lines
        if not line.get_label().startswith("_")
    }


def test_coverage_shows_the_stored_curves():
    result = confidence_result()
    figure = charts.coverage_plot(result)
    assert [panel.get_title() for panel in figure.axes] == ["within 25 km", "within 200 km", "within 750 km"]
    shares, values = drawn(figure.axes[1])["ranker, highest reward"]
    curve = result["test"]["decoders"]["argmax"]["coverage"]["200"]["curve"]
    assert dict(zip(shares, values, strict=True)) == {share: curve[share - 1] for share in range(5, 101)}


def test_reliability_shows_every_bin_with_its_interval():
    figure = charts.reliability_diagram(confidence_result())
    assert len(figure.axes) == len(charts.DECODERS)
    panel = figure.axes[0]
    dots = panel.collections[0]
    np.testing.assert_allclose(dots.get_offsets(), [[20, 25], [95, 100]])
    assert dots.get_sizes()[1] > dots.get_sizes()[0]
    intervals = [line.get_ydata() for line in panel.lines[1:]]
    # Wilson's interval of 1 in 4, by its formula.
    z, share, n = 1.959964, 0.25, 4
    middle, reach = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(
        intervals[0], 100 * np.array([middle - reach, middle + reach]) / (1 + z**2 / n), rtol=1e-5
    )
    assert intervals[1][1] == pytest.approx(100)


def test_scaling_shows_every_ranker_and_the_bound():
    result = scaling_result()
    figure = charts.scaling_plot(result)
    for panel, km in zip(figure.axes, ("25", "200"), strict=True):
        lines = drawn(panel)
        assert len(lines) == len(charts.RANKERS)
        for name, (label, _) in charts.RANKERS.items():
            assert lines[label] == (list(TILES), [entry["rankers"][name]["accuracy"][km] for entry in result["sizes"]])


def test_ablations_show_differences_intervals_and_the_papers():
    results = ablation_results()
    figure = charts.ablation_plot(results)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["no_images", "K_3"]
    expected = [paired_difference(results[2 * place : 2 * place + 2], results[:2]) for place in (1, 2)]
    for number, (panel, paper) in enumerate(zip(figure.axes, (-3.28, -2.34), strict=True)):
        zero, *lines = panel.lines
        assert list(zero.get_xdata()) == [0, 0]
        found = [(list(np.ravel(line.get_xdata())), set(np.ravel(line.get_ydata()))) for line in lines]
        (first, first_low, first_high), (second, second_low, second_high) = np.array(expected)[:, :, number]
        assert found == [
            ([first_low, first_high], {0}),
            ([first], {0}),
            ([paper], {0}),
            ([second_low, second_high], {1}),
            ([second], {1}),
        ]
