"""The charts of the studies of the embedded world, each from a stored result. ``plots`` draws them all."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from scipy.stats import binomtest

from earth.studies.ablation_results import WITHIN_KM, Result, paired_difference, read_results
from earth.studies.ablation_runs import BASELINE, SETTINGS
from utils.figures.panels import name_lines, panels
from utils.figures.style import FAINT, INK, LINE_COLOURS

POINTS = (-30, -10, -3, -1, 0, 1, 3, 10)  # marked on the axis of differences
LEAST_COVERAGE = 5  # percent; a handful of answers says nothing
DECODERS = {  # drawn ones, with their colours
    "argmax": ("ranker, highest reward", LINE_COLOURS[0]),
    "fused_consensus": ("fused with similarity, consensus", LINE_COLOURS[1]),
    "similarity": ("full-embedding similarity, no ranker", LINE_COLOURS[2]),
}
RANKERS = {
    "nearest_gallery": ("nearest gallery tile (bound)", FAINT),
    "oracle": ("oracle of 12 candidates", LINE_COLOURS[6]),
    "model_fused_consensus": ("ranker fused with similarity, consensus", LINE_COLOURS[1]),
    "model": ("ranker, highest reward", LINE_COLOURS[0]),
    "similarity": ("full-embedding similarity", LINE_COLOURS[2]),
    "retrieval": ("first candidate", LINE_COLOURS[4]),
}
BOUNDS = ("nearest_gallery", "oracle")  # drawn dashed: no ranker gets beyond them


def reliability_diagram(result: dict) -> Figure:
    """Share of right answers over stated confidence, with 95% intervals; a dot's area is its number of answers."""
    test = result["test"]
    radius = test["calibration_radius_km"]
    figure, axes = panels(len(DECODERS))
    for panel, (name, (label, colour)) in zip(axes, DECODERS.items(), strict=True):
        decoder = test["decoders"][name]
        confidence, correct, counts = map(np.array, decoder["reliability"].values())
        panel.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        for stated, right, count in zip(confidence, correct, counts, strict=True):
            interval = binomtest(round(right * count), count).proportion_ci(method="wilson")
            panel.plot([100 * stated] * 2, 100 * np.array(interval), color=colour, linewidth=1.2)
        panel.scatter(100 * confidence, 100 * correct, 8 + 500 * counts / counts.sum(), colour, zorder=3, clip_on=False)
        panel.set(xlim=(0, 104), ylim=(0, 104), xticks=range(0, 101, 20), yticks=range(0, 101, 20), aspect="equal")
        panel.set_title(f"{label}\ncalibration error {decoder['calibration_error']:.3f}", fontsize=9.5, color=INK)
        panel.set_xlabel(f"Confidence, within {radius} km (%)", color=INK)
    axes[0].set_ylabel(f"Answers within {radius} km (%)", color=INK)
    return figure


def coverage_plot(result: dict) -> Figure:
    """Accuracy over the share of queries that are answered, the surest first; a panel for each threshold."""
    decoders = result["test"]["decoders"]
    radii = list(decoders["argmax"]["coverage"])
    figure, axes = panels(len(radii), 1)
    for panel, km in zip(axes, radii, strict=True):
        for name, (label, colour) in DECODERS.items():
            curve = decoders[name]["coverage"][km]["curve"]
            shares = np.arange(LEAST_COVERAGE, len(curve) + 1)
            panel.plot(shares, curve[LEAST_COVERAGE - 1 :], color=colour, linewidth=1.8, label=label)
        panel.set(xlim=(0, 101))
        panel.set_title(f"within {km} km", fontsize=10.5, color=INK)
        panel.set_xlabel("Answered queries, the surest first (%)", color=INK)
    axes[0].set_ylabel("Right among the answered (%)", color=INK)
    name_lines(figure, axes[0], 3)
    return figure


def scaling_plot(result: dict) -> Figure:
    """Accuracy over the size of the gallery, with 95% intervals; a panel for each of two thresholds."""
    sizes = result["sizes"]
    tiles = [entry["gallery"] for entry in sizes]
    figure, axes = panels(2, 2)
    for panel, km in zip(axes, ("25", "200"), strict=True):
        for name, (label, colour) in RANKERS.items():
            rows = [entry["rankers"][name] for entry in sizes]
            style = (0, (4, 2)) if name in BOUNDS else "-"
            panel.plot(
                tiles,
                [row["accuracy"][km] for row in rows],
                color=colour,
                linestyle=style,
                linewidth=1.8,
                marker="o",
                markersize=4.5,
                label=label,
            )
            if name not in BOUNDS:
                low, high = np.transpose([row["accuracy_ci95"][km] for row in rows])
                panel.fill_between(tiles, low, high, color=colour, alpha=0.1, linewidth=0)
        panel.set(xscale="log")
        panel.set_xticks(tiles)
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
        panel.set_title(f"within {km} km", fontsize=10.5, color=INK)
        panel.set_xlabel("Tiles in the gallery", color=INK)
    axes[0].set_ylabel("Test queries (%)", color=INK)
    name_lines(figure, axes[0], 3)
    return figure


def ablation_plot(results: Sequence[Result]) -> Figure:
    """Differences to the baseline with 95% intervals, a row for every setting that was run; a panel for each threshold.

    Diamonds are the paper's differences, which are other data and another model: only their sides can be compared.
    Beyond a point the axis is logarithmic, or what matters most would press all others together.
    """
    baseline = [result for result in results if result.setting == BASELINE.name]
    shown = []  # settings that were run, each with its difference
    for setting in SETTINGS:
        difference = paired_difference([result for result in results if result.setting == setting.name], baseline)
        if setting != BASELINE and difference is not None:
            shown.append((setting, difference))
    figure, axes = panels(len(WITHIN_KM))
    figure.set_figheight(1.2 + 0.24 * len(shown))
    for number, (panel, km) in enumerate(zip(axes, WITHIN_KM, strict=True)):
        panel.axvline(0, color=FAINT, linewidth=1)
        for row, (setting, difference) in enumerate(shown):
            gain, low, high = (values[number] for values in difference)
            panel.plot([low, high], [row, row], color=LINE_COLOURS[0], linewidth=1.6)
            panel.plot(gain, row, "o", color=LINE_COLOURS[0], markersize=5)
            if setting.paper:
                panel.plot(setting.paper[number], row, "D", color=LINE_COLOURS[1], markersize=5, fillstyle="none")
        panel.set_xscale("symlog", linthresh=1, linscale=1)
        least, most = panel.get_xlim()
        ticks = [points for points in POINTS if least <= points <= most]
        panel.set_xticks(ticks, [f"{points:+d}" if points else "0" for points in ticks])
        panel.set_xticks([], minor=True)
        panel.set(ylim=(len(shown) - 0.5, -0.5), yticks=range(len(shown)))
        panel.set_title(f"within {km} km", fontsize=10.5, color=INK)
        panel.set_xlabel("Points more than the baseline", color=INK)
    axes[0].set_yticklabels([setting.name for setting, _ in shown])
    axes[1].set_yticklabels([])
    return figure


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


PLOTS: tuple[tuple[str, Callable[[Path], Any], Callable[[Any], Figure], str], ...] = (
    ("confidence.json", read_json, reliability_diagram, "earth_reliability.png"),
    ("confidence.json", read_json, coverage_plot, "earth_coverage.png"),
    ("scaling.json", read_json, scaling_plot, "earth_scaling.png"),
    ("ablations.jsonl", read_results, ablation_plot, "earth_ablations.png"),
)
