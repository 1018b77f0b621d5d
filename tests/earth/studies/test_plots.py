import json

import numpy as np
import pytest
from PIL import Image

from earth.studies import plots
from earth.studies.ablation_table import Result, append_result, paired_difference

TILES = (500, 1000, 4000)


def confidence_result():
    curve = np.linspace(100, 40, 100).round(2).tolist()
    decoder = {
        "calibration_error": 0.03,
        "reliability": {"confidence": [0.2, 0.95], "correct": [0.25, 1.0], "count": [4, 16]},
        "coverage": {km: {"curve": curve} for km in ("25", "200", "750")},
    }
    names = ("argmax", "fused_consensus", "similarity")
    return {
        "test": {"num_queries": 20, "calibration_radius_km": 200, "decoders": {name: decoder for name in names}},
    }


def scaling_result():
    sizes = []
    for step, tiles in enumerate(TILES):
        rankers = {}
        for number, name in enumerate(plots.RANKERS):
            at = {"25": 70.0 - 10 * number + step, "200": 80.0 - 5 * number + step}
            rankers[name] = {"accuracy": at, "accuracy_ci95": {km: [value - 3, value + 3] for km, value in at.items()}}
        sizes.append({"gallery": tiles, "rankers": rankers})
    return {"sizes": sizes}


def ablation_results():
    """Of two settings and the baseline, two seeds each; the paper has figures for the first."""
    rng = np.random.default_rng(0)
    errors = {"baseline": 100, "no_images": 300, "K_3": 100}
    made = "abc", "old", 250, {}, "2026-11-24", {}, 1.0, 0.1, {}, {}
    return [
        Result(name, name, seed, *made, rng.exponential(km, 90).tolist())
        for name, km in errors.items()
        for seed in (0, 1)
    ]


def drawn(panel):
    """The lines of a legend: name -> (x, y)."""
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in panel.lines
        if not line.get_label().startswith("_")
    }


def test_coverage_shows_the_stored_curves():
    result = confidence_result()
    figure = plots.coverage_plot(result)
    assert [panel.get_title() for panel in figure.axes] == ["within 25 km", "within 200 km", "within 750 km"]
    shares, values = drawn(figure.axes[1])["ranker, highest reward"]
    curve = result["test"]["decoders"]["argmax"]["coverage"]["200"]["curve"]
    assert dict(zip(shares, values, strict=True)) == {share: curve[share - 1] for share in range(5, 101)}


def test_reliability_shows_every_bin_with_its_interval():
    figure = plots.reliability_diagram(confidence_result())
    assert len(figure.axes) == len(plots.DECODERS)
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
    figure = plots.scaling_plot(result)
    for panel, km in zip(figure.axes, ("25", "200"), strict=True):
        lines = drawn(panel)
        assert len(lines) == len(plots.RANKERS)
        for name, (label, _) in plots.RANKERS.items():
            assert lines[label] == (list(TILES), [entry["rankers"][name]["accuracy"][km] for entry in result["sizes"]])


def test_ablations_show_differences_intervals_and_the_papers():
    results = ablation_results()
    figure = plots.ablation_plot(results)
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


def test_pictures_are_small_pngs(tmp_path):
    for result in ablation_results():
        append_result(tmp_path / "ablations.jsonl", result)
    (tmp_path / "confidence.json").write_text(json.dumps(confidence_result()))
    (tmp_path / "scaling.json").write_text(json.dumps(scaling_result()))
    assert plots.main(["--results", str(tmp_path), "--images", str(tmp_path / "images")]) == 0
    assert {path.name for path in (tmp_path / "images").iterdir()} == {name for *_, name in plots.PLOTS}
    for path in (tmp_path / "images").iterdir():
        assert path.stat().st_size < 60_000
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > 500
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 5


def test_missing_figures_are_named_and_cost_only_their_plots(tmp_path, capsys):
    (tmp_path / "scaling.json").write_text(json.dumps(scaling_result()))
    assert plots.main(["--results", str(tmp_path), "--images", str(tmp_path)]) == 1
    assert (tmp_path / "earth_scaling.png").exists()
    problems = capsys.readouterr().err.splitlines()
    assert len(problems) == 3
    assert "confidence.json does not exist: no earth_reliability.png" in problems[0]
