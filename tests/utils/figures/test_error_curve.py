import numpy as np

from tests.figures import pixels
from utils.evaluation.metrics import accuracy
from utils.evaluation.rankers import BASELINES
from utils.figures.error_curve import error_curve
from utils.geography.geodesy import THRESHOLDS_KM


def test_error_curves_pass_through_the_accuracies():
    random = np.random.default_rng(0)
    rankers = {"model": random.lognormal(5, 2, 300), "random": np.append(random.lognormal(7, 2, 99), np.inf)}
    axes = error_curve(rankers).axes[0]
    assert axes.get_xscale() == "log"
    for name, distances in rankers.items():
        (line,) = [line for line in axes.lines if line.get_label() == name]
        x, y = line.get_data()
        heights = [y[np.searchsorted(x, threshold, side="left") - 1] for threshold in THRESHOLDS_KM]
        np.testing.assert_allclose(heights, accuracy(distances))
        assert y[-1] == 100 * np.isfinite(distances).mean()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["model", "random"]


def test_no_two_rankers_of_a_report_look_alike():
    names = [*(f"model{i}" for i in range(4)), *BASELINES, "random", "oracle"]
    axes = error_curve({name: [1.0, 2.0] for name in names}).axes[0]
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines if line.get_label() in names}
    assert len(looks) == len(names)


def test_error_curve_marks_the_thresholds():
    axes = error_curve({"model": [1.0, 2.0]}).axes[0]
    verticals = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert verticals == list(THRESHOLDS_KM)


def test_the_curve_is_written_in_its_size(tmp_path):
    assert pixels(error_curve({"model": [3.0, 40.0]}), tmp_path).shape == (560, 900, 3)
