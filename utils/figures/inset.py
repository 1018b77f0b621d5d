"""The whole Earth in a corner of a close-up, with the close-up marked on it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from utils.figures.frame import HEIGHT, WIDTH, Frame
from utils.figures.ground import blue_marble
from utils.figures.style import INK

SIZE = (208, 104)  # pixels
MARK = "#e6194b"
SMALLEST = 5.0  # degrees of a mark; a smaller one is drawn as a square around the middle


def draw_inset(axes: Axes, frame: Frame, points: np.ndarray, colours: np.ndarray) -> None:
    """Fill ``axes`` with the Earth from 180 W to 180 E, the edge of ``frame``, and ``points`` (n, 2) in degrees."""
    axes.imshow(blue_marble(8) * 0.6 + 0.4, extent=(-180, 180, -90, 90), aspect="auto", interpolation="bilinear")
    axes.set(xlim=(-180, 180), ylim=(-90, 90), xticks=[], yticks=[])
    axes.spines[:].set(color=INK, linewidth=1.2)
    axes.scatter(points[::-1, 1], points[::-1, 0], 14, colours[::-1], edgecolors=INK, linewidths=0.5, zorder=3)
    edge = frame.degrees(_around())
    halo = [withStroke(linewidth=3, foreground="white")]
    if max(np.ptp(np.unwrap(edge[:, 1], period=360)), np.ptp(edge[:, 0])) < SMALLEST:
        latitude, longitude = frame.degrees((WIDTH / 2, HEIGHT / 2))
        axes.plot(longitude, latitude, "s", markersize=8, fillstyle="none", color=MARK, mew=1.5, path_effects=halo)
        return
    edge[1:][np.abs(np.diff(edge[:, 1])) > 180] = np.nan
    axes.plot(edge[:, 1], edge[:, 0], color=MARK, linewidth=1.5, path_effects=halo, zorder=4)


def _around() -> np.ndarray:
    """(n, 2) pixels along the edge of a map."""
    corners = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT), (0, 0)])
    place = np.linspace(0, 4, 401)
    return np.stack([np.interp(place, np.arange(5), column) for column in corners.T], axis=1)
