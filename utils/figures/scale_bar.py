"""A scale bar: a round number of km, as long as they are on the ground where the bar lies."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg

from utils.figures.frame import HEIGHT, WIDTH, Frame
from utils.figures.placing import Box
from utils.figures.style import INK
from utils.figures.words import Ruler
from utils.geography.geodesy import geodesic_km

SIZE = (224, 34)  # pixels of its box at most
LONGEST = 200  # pixels of the bar
ASIDE, UP = 12, 11  # of the bar in its box
TEXT_SIZE = 8.5


def bar_length(frame: Frame, x: float, y: float) -> tuple[int, float]:
    """Kilometres, of which the first digit is 1, 2 or 5, and the pixels that they take east of pixel (x, y)."""

    def km(length: float) -> float:
        (latitude, longitude), (other_latitude, other_longitude) = frame.degrees([(x, y), (x + length, y)])
        return float(geodesic_km(latitude, longitude, other_latitude, other_longitude))

    longest = km(LONGEST)
    power = 10 ** int(np.floor(np.log10(longest)))
    shown = next(power * digit for digit in (5, 2, 1) if power * digit <= longest)
    length = float(LONGEST)
    for _ in range(4):  # kilometres grow nearly evenly with the length
        length *= shown / km(length)
    return shown, length


def draw_scale_bar(axes: Axes, renderer: RendererAgg, frame: Frame, box: Box) -> Box:
    """Draw it into ``box``, pixels of the map, and return what it takes of that.

    On a map of the whole Earth it says what holds at the equator.
    """
    left, bottom, right, top = box
    x, y = left + ASIDE, bottom + UP
    shown, length = bar_length(frame, x, HEIGHT / 2 if frame.whole_earth else y)
    words = f"{shown:,} km at the equator" if frame.whole_earth else f"{shown:,} km"
    width = max(length, Ruler(renderer, TEXT_SIZE).width(words)) + 2 * ASIDE
    if left > WIDTH / 2:  # on the right side of the map
        left = right - width
        x = left + ASIDE
        if not frame.whole_earth:
            shown, length = bar_length(frame, x, y)
    right = left + width
    axes.fill([left, right, right, left], [bottom, bottom, top, top], "white", alpha=0.75, zorder=8)
    axes.plot([x, x, x + length, x + length], [y + 5, y, y, y + 5], color=INK, linewidth=1.4, zorder=9, gid="scale bar")
    axes.text(x + 3, y + 5, words, size=TEXT_SIZE, color=INK, zorder=9)
    return left, bottom, right, top
