"""Pictures of what was stated of answers, against what was true."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from utils.figures.style import FAINT, INK, LINE_COLOURS

SIZE = (11.0, 5.2)  # inches


def reliability_figure(bins: Mapping[int, Mapping[str, list]], coverage: Mapping[int, float]) -> Figure:
    """Stated against true confidence within each radius, and how often regions held the truth, 1100 x 520 pixels.

    ``bins`` maps a radius in km to ``confidence``, ``correct`` (0 to 1) and ``count`` of each bin of answers, as
    ``metrics.reliability`` returns them; ``coverage`` maps a level in percent to the percentage of truths held.
    """
    figure = Figure(figsize=SIZE, facecolor="white", layout="constrained")
    chances, regions = figure.subplots(1, 2)
    for axes in (chances, regions):
        axes.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        axes.spines[["top", "right"]].set_visible(False)
    for (radius, found), colour in zip(bins.items(), LINE_COLOURS, strict=False):
        stated, true = ([100 * value for value in found[name]] for name in ("confidence", "correct"))
        total = sum(found["count"])
        chances.plot(stated, true, color=colour, linewidth=1.4, label=f"within {radius} km", zorder=3)
        chances.scatter(stated, true, [12 + 160 * count / total for count in found["count"]], colour, zorder=4)
    chances.set_xlabel("Stated probability (%)", color=INK)
    chances.set_ylabel("Answers that near (%); larger dots: more answers", color=INK)
    chances.legend(loc="upper left", frameon=False, fontsize=9)
    levels, held = list(coverage), list(coverage.values())
    regions.plot(levels, held, "o-", color=LINE_COLOURS[0], markersize=8, zorder=3)
    for level, share in coverage.items():
        regions.annotate(f"{share:.1f}", (level, share), xytext=(8, -12), textcoords="offset points", color=INK)
    regions.set_xlabel("Level of the region (%)", color=INK)
    regions.set_ylabel("Truths that it held (%)", color=INK)
    return figure
