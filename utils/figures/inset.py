"""The whole Earth in a corner of a close-up, with the close-up marked on it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.patheffects import withStroke

from utils.figures.frame import HEIGHT, WIDTH, Frame, whole_earth
from utils.figures.ground import COAST, SEA
from utils.figures.outline_paths import land_path
from utils.figures.style import INK

SIZE = (208, 104)  # pixels
LAND = "#b9b59f"
MARK = "#e6194b"
SMALLEST = 26  # pixels of the map of the whole Earth; a smaller mark is drawn as a square around the middle
PACIFIC = 140.0  # degrees: close-ups beyond stand on an Earth with PACIFIC_MIDDLE in its middle
PACIFIC_MIDDLE = 160.0


def draw_inset(axes: Axes, frame: Frame) -> Frame:
    """Fill ``axes`` with the Earth and the edge of ``frame``; returns the map that it is, to draw more on it."""
    earth = whole_earth(0.0 if abs(frame.projection.longitude) <= PACIFIC else PACIFIC_MIDDLE)
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), xticks=[], yticks=[], facecolor=SEA)
    axes.spines[:].set(color=INK, linewidth=1.2)
    axes.add_artist(PathPatch(land_path(earth), facecolor=LAND, edgecolor=COAST, linewidth=0.2))
    edge = earth.pixels(frame.degrees(_around()))
    leaps = np.flatnonzero(np.abs(np.diff(edge[:, 0])) > WIDTH / 2) + 1
    halo = [withStroke(linewidth=3, foreground="white")]
    if not len(leaps) and np.ptp(edge, axis=0).max() < SMALLEST:
        middle = earth.pixels(frame.degrees((WIDTH / 2, HEIGHT / 2)))
        axes.plot(*middle, "s", markersize=7, fillstyle="none", color=MARK, mew=1.5, path_effects=halo, zorder=4)
    else:
        edge = np.insert(edge, leaps, np.nan, axis=0)
        axes.plot(*edge.T, color=MARK, linewidth=1.5, path_effects=halo, zorder=4)
    return earth


def _around() -> np.ndarray:
    """(n, 2) pixels along the edge of a map."""
    corners = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT), (0, 0)])
    place = np.linspace(0, 4, 401)
    return np.stack([np.interp(place, np.arange(5), column) for column in corners.T], axis=1)
