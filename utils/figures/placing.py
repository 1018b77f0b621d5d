"""Where words go on a map so that they cover nothing: each beside its place, in the first spot that is free."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from utils.figures.frame import HEIGHT, WIDTH

# Beside the place first, then above and below, then askew.
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
HALO = 2.2  # points of white around letters
GAP = 2  # pixels between words and what they stand beside
LEADER = 9  # pixels between words and their place from which on a line joins them
FURTHER = (0, 8, 18, 30, 45, 65, 90, 120, 160, 210, 280, 370, 480)  # pixels that words may be moved away

Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels


class Placer:
    """Words and boxes on ``axes`` whose data coordinates are the pixels of the map."""

    def __init__(self, axes: Axes, renderer: RendererAgg) -> None:
        self._axes, self._renderer = axes, renderer
        self._taken: list[Box] = []

    def take(self, box: Box) -> None:
        """Keep words out of ``box``."""
        self._taken.append(box)

    def take_disc(self, x: float, y: float, radius: float) -> None:
        """Keep words out of a marker."""
        self.take((x - radius, y - radius, x + radius, y + radius))

    def is_free(self, box: Box) -> bool:
        """Whether ``box`` lies on the map and covers nothing that is taken."""
        left, bottom, right, top = box
        if left < 3 or bottom < 3 or right > WIDTH - 3 or top > HEIGHT - 3:
            return False
        return not any(
            left < other[2] and other[0] < right and bottom < other[3] and other[1] < top for other in self._taken
        )

    def place(
        self, x: float, y: float, radius: float, words: str, *, far: bool = False, **style: object
    ) -> Text | None:
        """Write ``words`` beside a marker of some ``radius``; None, and nothing, where there is no room.

        With ``far`` they may move away from it, and a line leads back.
        """
        text = self._axes.text(
            0, 0, words, path_effects=[withStroke(linewidth=HALO, foreground="white")], parse_math=False, **style
        )
        extent = text.get_window_extent(self._renderer)
        origin = self._axes.transData.transform((0, 0))
        width, height = extent.width + 2, extent.height
        for further in FURTHER if far else FURTHER[:1]:
            for across, up in DIRECTIONS:
                middle_x = x + across * (radius + GAP + further + width / 2)
                middle_y = y + up * (radius + GAP + further + height / 2)
                box = (middle_x - width / 2, middle_y - height / 2, middle_x + width / 2, middle_y + height / 2)
                if self.is_free(box):
                    text.set_position((box[0] + 1 - (extent.x0 - origin[0]), box[1] - (extent.y0 - origin[1])))
                    self.take(box)
                    if further > LEADER:
                        self._lead(x, y, radius, box)
                    return text
        text.remove()
        return None

    def _lead(self, x: float, y: float, radius: float, box: Box) -> None:
        """A line from the edge of a marker to the nearest point of a box."""
        end = np.array([np.clip(x, box[0], box[2]), np.clip(y, box[1], box[3])])
        start = np.array([x, y]) + radius * (end - (x, y)) / np.linalg.norm(end - (x, y))
        for colour, linewidth in (("white", 2.4), ("#1c2330", 0.8)):
            self._axes.plot(*np.stack([start, end]).T, color=colour, linewidth=linewidth, zorder=5)
