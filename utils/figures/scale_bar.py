"""A scale bar: a round number of km, as long as they are on the ground where the bar lies."""

import numpy as np
from matplotlib.axes import Axes
from scipy.optimize import brentq

from utils.figures.frame import HEIGHT, Frame
from utils.figures.placing import Box
from utils.figures.style import INK
from utils.geography.geodesy import geodesic_km

SIZE = (250, 34)  # pixels of its box
LONGEST = 200  # pixels of the bar
LEFT, UP = 16, 12  # of the bar in its box


def bar_length(frame: Frame, x: float, y: float) -> tuple[int, float]:
    """Kilometres, of which the first digit is 1, 2 or 5, and the pixels that they take east of pixel (x, y)."""

    def km(length: float) -> float:
        (latitude, longitude), (other_latitude, other_longitude) = frame.degrees([(x, y), (x + length, y)])
        return float(geodesic_km(latitude, longitude, other_latitude, other_longitude))

    longest = km(LONGEST)
    power = 10 ** int(np.floor(np.log10(longest)))
    shown = next(power * digit for digit in (5, 2, 1) if power * digit <= longest)
    return shown, float(brentq(lambda length: km(length) - shown, 1, LONGEST, xtol=0.01))


def draw_scale_bar(axes: Axes, frame: Frame, box: Box) -> None:
    """Draw it into ``box``, pixels of the map; on a map of the whole Earth it says what holds at the equator."""
    x, y = box[0] + LEFT, box[1] + UP
    shown, length = bar_length(frame, x, HEIGHT / 2 if frame.whole_earth else y)
    axes.fill([box[0], box[2], box[2], box[0]], [box[1], box[1], box[3], box[3]], "white", alpha=0.72, zorder=8)
    axes.plot([x, x, x + length, x + length], [y + 5, y, y, y + 5], color=INK, linewidth=1.4, zorder=9, gid="scale bar")
    words = f"{shown:,} km at the equator" if frame.whole_earth else f"{shown:,} km"
    axes.text(x, y + 6, f" {words}", size=8.5, color=INK, zorder=9)
