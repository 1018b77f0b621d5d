"""The words around a map: the answer above it; below it what the marks mean, and whose data they stand on."""

from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from utils.figures.layout import MAP_BOX, SIZE
from utils.figures.marks import SHARE_COLOURS, TRUTH_COLOUR
from utils.figures.regions import COLOUR, LINES
from utils.figures.style import FAINT, INK
from utils.figures.words import Ruler
from utils.geography.discs import Region

CREDIT = (
    "Outlines: Natural Earth.  Towns: GeoNames, CC BY 4.0.  Land: NASA Earth Observatory, Blue Marble Next Generation"
)


def draw_title(figure: Figure, renderer: RendererAgg, name: str, where: Sequence[str]) -> None:
    """The answer's name, and below it where that is and how far from the truth."""
    width = SIZE[0] - MAP_BOX[0] - 24
    heading = Ruler(renderer, 15, "bold").shortened(name[:1].upper() + name[1:], width)
    for words, up, style in (
        (heading, 44, {"size": 15, "weight": "bold", "color": INK}),
        ("  ·  ".join(where), 20, {"size": 10.5, "color": FAINT}),
    ):
        y = (MAP_BOX[1] + MAP_BOX[3] + up) / SIZE[1]
        figure.text(MAP_BOX[0] / SIZE[0], y, words, va="center", parse_math=False, **style)


def draw_legend(figure: Figure, regions: Mapping[int, Region], everywhere: Sequence[int], has_truth: bool) -> None:
    """The marks, the ``regions``, of which those of the levels ``everywhere`` take the whole map, and the credits."""
    mark = {"color": "none", "markeredgecolor": INK}
    handles = [
        Line2D([], [], marker="o", mfc=SHARE_COLOURS(1.0), mew=1.6, ms=9, label="answer", **mark),
        Line2D([], [], marker="o", mfc=SHARE_COLOURS(0.25), ms=8, label="candidate, by share", **mark),
    ]
    if has_truth:
        handles.append(Line2D([], [], marker="*", mfc=TRUTH_COLOUR, ms=12, label="truth", **mark))
    for level in sorted(regions):
        words = f"region that holds the truth {level}% of the time, {_rounded(regions[level].area_km2)} km²"
        words += " (all of this map)" if level in everywhere else ""
        handles.append(Line2D([], [], color=COLOUR, linestyle=LINES[level], linewidth=1.5, label=words))
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=((MAP_BOX[0] - 8) / SIZE[0], 20 / SIZE[1]),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        columnspacing=1.6,
        borderpad=0,
    )
    figure.text(MAP_BOX[0] / SIZE[0], 8 / SIZE[1], CREDIT, fontsize=7, color=FAINT)


def _rounded(area: float) -> str:
    """Two digits of an area."""
    return f"{float(f'{area:.1e}'):,.0f}"
