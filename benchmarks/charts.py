"""Pictures of how costs grow, for ``benchmarks.growth`` and ``benchmarks.search``."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatterSciNotation, NullFormatter

from benchmarks.tables import Point, photos_of, time_unit
from utils.figures.panels import HEIGHT, name_lines, panels
from utils.figures.style import INK, LINE_COLOURS

LAYOUT_COLOURS = {"published": LINE_COLOURS[1], "negatives_first": LINE_COLOURS[0]}
SIDE_STYLES = {"naive": (0, (4, 2)), "ours": "-"}


def growth_chart(points: Sequence[Point]) -> Figure:
    """Time and memory over the number of candidates, both axes logarithmic; a column for each size of photos."""
    columns = list(dict.fromkeys(map(photos_of, points)))
    counts = [point["candidates"] for point in points]
    figure, axes = panels(len(columns), 1, rows=2)
    figure.set_figheight(1.7 * HEIGHT)
    for number, panel in enumerate(axes):
        row, column = divmod(number, len(columns))
        name = ("ms", "peak_mib")[row]
        shown = [point for point in points if photos_of(point) == columns[column]]
        for layout, colour in LAYOUT_COLOURS.items():
            for side, style in SIDE_STYLES.items():
                _line(panel, shown, layout, side, name, color=colour, linestyle=style)
        plain_logarithmic(panel)
        panel.set_xlim(0.85 * min(counts), 1.2 * max(counts))
        panel.set_ylim(*_limits(points, name))
        panel.tick_params(labelleft=column == 0)
        if row == 0:
            panel.set_title(columns[column], fontsize=10.5, color=INK)
        else:
            panel.set_xlabel("Candidates", color=INK)
    axes[0].set_ylabel(time_unit(points), color=INK)
    axes[len(columns)].set_ylabel("MiB beyond weights", color=INK)
    name_lines(figure, axes[0], 4)
    return figure


def _limits(points: Sequence[Point], name: str) -> tuple[float, float]:
    """Of an axis that has all values of ``name``: the panels of a row have one scale."""
    values = [point[side][name] for point in points for side in SIDE_STYLES if name in point[side]]
    return min(values, default=1) / 1.3, max(values, default=1) * 1.3


def _line(panel: Axes, points: Sequence[Point], layout: str, side: str, name: str, **style: object) -> None:
    own = [point for point in points if point["layout"] == layout and name in point[side]]
    panel.plot(
        [point["candidates"] for point in own],
        [point[side][name] for point in own],
        label=f"{side}, {layout}",
        linewidth=1.8,
        marker="o",
        markersize=3.5,
        **style,
    )


SEARCH_PANELS = (
    ("Processor ms a query", ("query_ms",)),
    ("Loaded, MiB", ("search_own_mib",)),
    ("Building, processor s", ("build_seconds",)),
    ("Recall@1, dashed: @20", ("recall@1", "recall@20")),
)
KIND_COLOURS = {"exact": LINE_COLOURS[1], "ivfpq": LINE_COLOURS[0]}


def search_chart(rows: Sequence[Point]) -> Figure:
    """Time, memory and recall of both kinds of index over the number of photos, which is logarithmic."""
    figure, axes = panels(len(SEARCH_PANELS), 1)
    for panel, (label, names) in zip(axes, SEARCH_PANELS, strict=True):
        for kind, colour in KIND_COLOURS.items():
            own = [row for row in rows if row["kind"] == kind]
            for name, style in zip(names, ("-", (0, (4, 2))), strict=False):
                panel.plot(
                    [row["photos"] for row in own],
                    [row[name] for row in own],
                    label=kind,
                    color=colour,
                    linestyle=style,
                    linewidth=1.8,
                    marker="o",
                    markersize=3.5,
                )
        panel.set_title(label, fontsize=10.5, color=INK)
        panel.set_xlabel("Photos", color=INK)
        plain_logarithmic(panel)
        panel.xaxis.set_major_formatter(LogFormatterSciNotation())
    least = min(row[name] for row in rows for name in SEARCH_PANELS[-1][1])
    axes[-1].set(yscale="linear", ylim=(min(0.9, least - 0.02), 1.005))
    name_lines(figure, axes[0], 2)
    return figure


def plain_logarithmic(panel: Axes) -> None:
    """Both axes logarithmic, their numbers written out."""
    panel.set(xscale="log", yscale="log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}" if value < 10_000 else f"{value:,.0f}"))
        axis.set_minor_formatter(NullFormatter())
