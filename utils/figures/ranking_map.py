"""The candidates of one photo on a map, for paper and screens.

The figure is a plain matplotlib object without pyplot's global state, so that many threads can draw. A close-up frames
the likely places; what lies outside is named at its edge, and an inset shows where on Earth it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from utils.figures.captions import draw_legend, draw_title
from utils.figures.corners import choose_corners
from utils.figures.frame import Frame, frame_around
from utils.figures.ground import draw_ground
from utils.figures.inset import draw_inset
from utils.figures.layout import LIST_BOX, MAP_BOX, PHOTO_GAP, PHOTO_HEIGHT, SIZE, axes_in
from utils.figures.marks import SHARE_COLOURS, TRUTH_COLOUR, draw_candidates, draw_path, draw_truth
from utils.figures.off_map import Outside, draw_outside
from utils.figures.placing import Box, Placer
from utils.figures.ranking_list import draw_list, draw_photo
from utils.figures.regions import LINES, draw_regions
from utils.figures.scale_bar import draw_scale_bar
from utils.figures.style import DOTS_PER_INCH, INK
from utils.figures.towns import draw_towns
from utils.geography.discs import Region
from utils.geography.geodesy import geodesic_km, haversine_km

SEEN = 4  # pixels: what lies nearer to the edge of a map than this is named as outside


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
    answer that is not ``sure`` says so. Candidates are numbered by their share; of more than about a hundred, some
    numbers find no room and are left out.

    >>> save(ranking_map([(46.2, 7.1), (44.2, 6.7)], [0.7, 0.3], predicted=0), "map.png")  # doctest: +SKIP
    """
    points, shares = np.asarray(points, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    names = [_degrees(point) for point in points] if labels is None else labels
    ranks = np.argsort(-shares, kind="stable")
    points, shares, names = points[ranks], shares[ranks], [names[index] for index in ranks]
    answer = int(np.flatnonzero(ranks == predicted)[0])
    drawn = {level: region for level, region in (regions or {}).items() if level in LINES}

    figure = Figure(figsize=np.array(SIZE) / DOTS_PER_INCH, dpi=DOTS_PER_INCH, facecolor="white")
    renderer = FigureCanvasAgg(figure).get_renderer()
    discs = [disc for region in drawn.values() for disc in region.discs]
    frame = frame_around(points, shares, answer, truth, discs)
    everywhere = _map(figure, renderer, frame, _Ranking(points, shares / shares.max(), answer, truth, drawn))

    where = [] if labels is None else [_degrees(points[answer])]
    if truth is not None:
        where.append(f"{float(geodesic_km(*points[answer], *truth)):,.1f} km from the truth")
    draw_title(figure, renderer, names[answer] if sure else f"Not sure; the best candidate: {names[answer]}", where)
    draw_legend(figure, drawn, everywhere, truth is not None)

    left, bottom, width, height = LIST_BOX
    if photo is not None:
        draw_photo(axes_in(figure, "photo", left, bottom + height - PHOTO_HEIGHT, width, PHOTO_HEIGHT), photo)
        height -= PHOTO_HEIGHT + PHOTO_GAP
    said = None if truth is None else f"truth: {_degrees(truth)}"
    draw_list(axes_in(figure, "list", left, bottom, width, height), renderer, names, shares, answer, said)
    return figure


@dataclass(frozen=True)
class _Ranking:
    """What is drawn on the map."""

    points: np.ndarray  # (n, 2) degrees, best first
    relative: np.ndarray  # (n,) shares over the largest one
    answer: int  # which of them it is
    truth: tuple[float, float] | None
    regions: Mapping[int, Region]


def _map(figure: Figure, renderer: RendererAgg, frame: Frame, ranking: _Ranking) -> list[int]:
    """The map with all that stands on it; what comes first gets the room. Returns the levels that take all of it."""
    known = ranking.points if ranking.truth is None else np.vstack([ranking.points, ranking.truth])
    frame, corners = choose_corners(frame, known)
    axes = axes_in(figure, "map", *MAP_BOX)
    placer = Placer(axes, renderer)
    draw_ground(axes, frame)
    placer.take(draw_scale_bar(axes, renderer, frame, corners.scale))
    if corners.inset is not None:
        _inset(figure, frame, corners.inset, ranking)
        placer.take(corners.inset)
    _inside(axes, placer, frame, ranking)
    _outside(axes, placer, frame, ranking)
    everywhere = draw_regions(axes, placer, frame, ranking.regions)
    draw_towns(axes, placer, frame)
    return everywhere


def _inset(figure: Figure, frame: Frame, box: Box, ranking: _Ranking) -> None:
    """The Earth with what lies outside of the map."""
    left, bottom, right, top = box
    axes = axes_in(figure, "inset", MAP_BOX[0] + left, MAP_BOX[1] + bottom, right - left, top - bottom)
    earth = draw_inset(axes, frame)
    away = np.flatnonzero(~_is_seen(frame, ranking.points))[::-1]
    colours = SHARE_COLOURS(ranking.relative[away])
    axes.scatter(*earth.pixels(ranking.points[away]).T, 14, colours, edgecolors=INK, linewidths=0.5)
    if ranking.truth is not None and not _is_seen(frame, ranking.truth):
        axes.plot(*earth.pixels(ranking.truth), "*", color=TRUTH_COLOUR, ms=9, markeredgecolor="black", mew=0.6)


def _inside(axes: Axes, placer: Placer, frame: Frame, ranking: _Ranking) -> None:
    """The truth, the way there from the answer, and the candidates."""
    shown = np.flatnonzero(_is_seen(frame, ranking.points)).tolist()
    star = None
    if ranking.truth is not None:
        draw_path(axes, frame, ranking.points[ranking.answer], np.asarray(ranking.truth))
        if _is_seen(frame, ranking.truth):
            star = frame.pixels(ranking.truth)
            draw_truth(axes, *star)
    draw_candidates(axes, placer, frame.pixels(ranking.points), ranking.relative, shown, ranking.answer, star)


def _outside(axes: Axes, placer: Placer, frame: Frame, ranking: _Ranking) -> None:
    """Arrows to the truth and the candidates that are not on the map, with their distances from the answer."""
    answer = ranking.points[ranking.answer]
    if ranking.truth is not None and not _is_seen(frame, ranking.truth):
        truth = Outside(ranking.truth, float(geodesic_km(*answer, *ranking.truth)), None)
        draw_outside(axes, placer, frame, [truth], TRUTH_COLOUR)
    distances = haversine_km(*answer, *ranking.points.T)
    places = []
    for index in np.flatnonzero(~_is_seen(frame, ranking.points)).tolist():
        point = tuple(ranking.points[index].tolist())
        levels = [level for level in sorted(ranking.regions) if ranking.regions[level].contains(*point)]
        note = f"in the {levels[0]}% region" if levels else ""
        places.append(Outside(point, float(distances[index]), index + 1, note))
    draw_outside(axes, placer, frame, places)


def _is_seen(frame: Frame, points: ArrayLike) -> np.ndarray:
    """(...,) whether ``points`` (..., 2) are drawn on the map; on the whole Earth all are."""
    return frame.holds(points, 0 if frame.whole_earth else SEEN)


def _degrees(point: Sequence[float]) -> str:
    latitude, longitude = point
    return f"{abs(latitude):.3f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.3f}° {'W' if longitude < 0 else 'E'}"
