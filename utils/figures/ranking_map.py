"""The candidates of one photo on a map, for paper and screens.

The figure is a plain matplotlib object without pyplot's global state, so that many threads can draw. A close-up frames
the likely places; what lies outside is named at its edge, and an inset shows where on Earth it is.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike
from PIL import Image

from utils.figures.corners import choose_corners
from utils.figures.frame import HEIGHT, WIDTH, Frame, frame_around
from utils.figures.ground import draw_ground
from utils.figures.inset import draw_inset
from utils.figures.marks import SHARE_COLOURS, TRUTH_COLOUR, draw_candidates, draw_path, draw_truth
from utils.figures.off_map import Outside, draw_outside
from utils.figures.placing import Placer
from utils.figures.ranking_list import draw_list, draw_photo
from utils.figures.regions import COLOUR, LINES, draw_regions
from utils.figures.scale_bar import draw_scale_bar
from utils.figures.style import DOTS_PER_INCH, FAINT, INK
from utils.figures.towns import draw_towns
from utils.figures.words import Ruler
from utils.geography.discs import Region
from utils.geography.geodesy import geodesic_km, haversine_km

CREDIT = (
    "Outlines: Natural Earth.  Towns: GeoNames, CC BY 4.0.  Land: NASA Earth Observatory, Blue Marble Next Generation"
)
SIZE = (1500, 650)  # pixels
MAP_BOX = (64, 76, WIDTH, HEIGHT)  # left, bottom, width, height in pixels
LIST_BOX = (1094, 76, 386, HEIGHT)
PHOTO_HEIGHT = 212  # pixels


def ranking_map(
    points: ArrayLike,
    shares: ArrayLike,
    predicted: int,
    *,
    truth: tuple[float, float] | None = None,
    photo: Image.Image | None = None,
    labels: Sequence[str] | None = None,
    regions: Mapping[int, Region] | None = None,
    sure: bool = True,
) -> Figure:
    """One photo's candidates on a map, 1500 x 650 pixels; a candidate's share is colour and size of its marker.

    ``points`` (n, 2) are [latitude, longitude] in degrees, ``shares`` (n,) are those of the candidates, together 1,
    and ``predicted`` is the index of the decoded candidate, which gets a ring. ``truth`` is where the photo was
    taken, ``photo`` stands beside the map, ``labels`` (n,) are place names for the title and the list; without them
    they show coordinates. ``regions`` are those that hold the truth, by percent, of which 50 and 90 are drawn; an
    answer that is not ``sure`` says so. Candidates are numbered by their share.

    >>> save(ranking_map([(46.2, 7.1), (44.2, 6.7)], [0.7, 0.3], predicted=0), "map.png")  # doctest: +SKIP
    """
    points, shares = np.asarray(points, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    names = [_degrees(point) for point in points] if labels is None else labels
    ranks = np.argsort(-shares, kind="stable")
    points, shares, names = points[ranks], shares[ranks], [names[index] for index in ranks]
    predicted = int(np.flatnonzero(ranks == predicted)[0])
    drawn = {level: region for level, region in (regions or {}).items() if level in LINES}

    figure = Figure(figsize=np.array(SIZE) / DOTS_PER_INCH, dpi=DOTS_PER_INCH, facecolor="white")
    renderer = FigureCanvasAgg(figure).get_renderer()
    discs = [disc for region in drawn.values() for disc in region.discs]
    frame = frame_around(points, shares, predicted, truth, discs)
    everywhere = _map(figure, renderer, frame, points, shares, predicted, truth, drawn)
    _title(figure, renderer, names[predicted], points[predicted], truth, sure)
    _legend(figure, drawn, everywhere, truth is not None)

    left, bottom, width, height = LIST_BOX
    if photo is not None:
        draw_photo(_axes(figure, left, bottom + height - PHOTO_HEIGHT, width, PHOTO_HEIGHT), photo)
        height -= PHOTO_HEIGHT + 16
    said = None if truth is None else f"truth: {_degrees(truth)}"
    draw_list(_axes(figure, left, bottom, width, height), renderer, names, shares, predicted, said)
    return figure


def _map(
    figure: Figure,
    renderer: RendererAgg,
    frame: Frame,
    points: np.ndarray,
    shares: np.ndarray,
    predicted: int,
    truth: tuple[float, float] | None,
    regions: Mapping[int, Region],
) -> list[int]:
    """The map with all that stands on it; what comes first gets the room. Returns the levels that take all of it."""
    relative = shares / shares.max()
    known = points if truth is None else np.vstack([points, truth])
    frame, corners = choose_corners(frame, known)
    axes = _axes(figure, *MAP_BOX)
    placer = Placer(axes, renderer)
    draw_ground(axes, frame)
    placer.take(draw_scale_bar(axes, renderer, frame, corners.scale))
    if corners.inset is not None:
        left, bottom, right, top = corners.inset
        inset = _axes(figure, MAP_BOX[0] + left, MAP_BOX[1] + bottom, right - left, top - bottom)
        earth = draw_inset(inset, frame)
        away = np.flatnonzero(~frame.holds(points))[::-1]
        inset.scatter(*earth.pixels(points[away]).T, 14, SHARE_COLOURS(relative[away]), edgecolors=INK, linewidths=0.5)
        if truth is not None and not frame.holds(truth):
            inset.plot(*earth.pixels(truth), "*", color=TRUTH_COLOUR, markersize=9, markeredgecolor="black", mew=0.6)
        placer.take(corners.inset)

    if truth is not None:
        draw_path(axes, frame, points[predicted], np.asarray(truth))
    held = frame.holds(points, 4)
    shown = np.flatnonzero(held).tolist()
    star = None if truth is None or not frame.holds(truth, 4) else frame.pixels(truth)
    draw_candidates(axes, placer, frame.pixels(points), relative, shown, predicted, star)
    if star is not None:
        draw_truth(axes, *star)
    away = haversine_km(*points[predicted], *points.T)
    if truth is not None and star is None:
        far = Outside(truth, float(geodesic_km(*points[predicted], *truth)), None)
        draw_outside(axes, placer, frame, [far], TRUTH_COLOUR)
    outside = [
        Outside(tuple(points[index]), float(away[index]), index + 1, _membership(points[index], regions))
        for index in np.flatnonzero(~held).tolist()
    ]
    draw_outside(axes, placer, frame, outside)
    everywhere = draw_regions(axes, placer, frame, regions)
    draw_towns(axes, placer, frame)
    return everywhere


def _membership(point: np.ndarray, regions: Mapping[int, Region]) -> str:
    """Which region a place outside of the map lies in, in words: the smallest."""
    levels = [level for level in sorted(regions) if regions[level].contains(*point.tolist())]
    return f"in the {levels[0]}% region" if levels else ""


def _title(
    figure: Figure,
    renderer: RendererAgg,
    name: str,
    point: np.ndarray,
    truth: tuple[float, float] | None,
    sure: bool,
) -> None:
    """The answer's name, and below it where that is and how far from the truth."""
    left, width = MAP_BOX[0], SIZE[0] - MAP_BOX[0] - 24
    heading = name if sure else f"Not sure; the best candidate: {name}"
    heading = Ruler(renderer, 15, "bold").shortened(heading[:1].upper() + heading[1:], width)
    below = _degrees(point)
    if truth is not None:
        below += f"  ·  {float(geodesic_km(*point, *truth)):,.1f} km from the truth"
    for words, up, style in (
        (heading, 44, {"size": 15, "weight": "bold", "color": INK}),
        (below, 20, {"size": 10.5, "color": FAINT}),
    ):
        y = (MAP_BOX[1] + HEIGHT + up) / SIZE[1]
        figure.text(left / SIZE[0], y, words, va="center", parse_math=False, **style)


def _legend(figure: Figure, regions: Mapping[int, Region], everywhere: Sequence[int], has_truth: bool) -> None:
    """What the marks mean, and whose data they stand on."""
    handles: list[Line2D | Patch] = [
        Line2D([], [], marker="o", color="none", mfc=SHARE_COLOURS(1.0), mec=INK, mew=1.6, ms=9, label="answer"),
        Line2D([], [], marker="o", color="none", mfc=SHARE_COLOURS(0.25), mec=INK, ms=8, label="candidate, by share"),
    ]
    if has_truth:
        handles.append(Line2D([], [], marker="*", color="none", mfc=TRUTH_COLOUR, mec="black", ms=12, label="truth"))
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


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes in a box given in pixels."""
    return figure.add_axes((left / SIZE[0], bottom / SIZE[1], width / SIZE[0], height / SIZE[1]))


def _degrees(point: Sequence[float]) -> str:
    latitude, longitude = point
    return f"{abs(latitude):.3f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.3f}° {'W' if longitude < 0 else 'E'}"
