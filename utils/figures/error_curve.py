"""The error curves of rankers: how many queries are answered within a distance."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from utils.figures.style import FAINT, INK, LINE_COLOURS, LINE_STYLES
from utils.geography.geodesy import THRESHOLDS_KM

CURVE_SIZE = (9.0, 5.6)  # inches


def error_curve(distances: Mapping[str, ArrayLike]) -> Figure:
    """Percentage of queries answered within d km, over d on a logarithmic axis, 900 x 560 pixels.

    ``distances`` maps a ranker's name to its distances in km (queries,), infinite for a query without answer;
    the first one named is drawn strongest. Vertical lines mark the thresholds of ``THRESHOLDS_KM``.
    """
    figure = Figure(figsize=CURVE_SIZE, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for row, (name, values) in enumerate(distances.items()):
        ordered = np.sort(np.asarray(values, dtype=np.float64))
        axes.step(
            np.concatenate([[1e-9], ordered, [1e9]]),
            100 * np.concatenate([[0], np.arange(1, len(ordered) + 1), [np.isfinite(ordered).sum()]]) / len(ordered),
            where="post",
            label=name,
            color=LINE_COLOURS[row % len(LINE_COLOURS)],
            linestyle=LINE_STYLES[row % len(LINE_STYLES)],
            linewidth=2.8 if row == 0 else 1.8,
            zorder=4 if row == 0 else 3,
        )
    for threshold, level in zip(THRESHOLDS_KM, ("street", "city", "region", "country", "continent"), strict=True):
        axes.axvline(threshold, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        axes.annotate(
            f"{level}\n{threshold} km",
            (threshold, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 5),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8.5,
            color=FAINT,
        )
    axes.set(xscale="log", xlim=(0.5, 20038), ylim=(0, 100))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda km, _: f"{km:,.0f}"))
    axes.set_xlabel("Distance from the truth (km)", color=INK)
    axes.set_ylabel("Queries within that distance (%)", color=INK)
    axes.grid(axis="y", color="#e6e9ee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9.5, handlelength=2.8)
    return figure
