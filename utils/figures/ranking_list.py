"""The column beside a map: the photo, and the likeliest candidates by name."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from PIL import Image

from utils.figures.marks import SHARE_COLOURS, TRUTH_COLOUR, draw_number
from utils.figures.style import FAINT, INK
from utils.figures.words import Ruler

ROW_HEIGHT, LINE_HEIGHT = 24, 15  # pixels of a candidate, and what another line of its name adds
MOST_LINES = 3  # of a name
NAME_LEFT, SHARE_WIDTH = 40, 52  # pixels: where names begin, and what the shares at the right take
SHARPEST = 4  # a photo is drawn from at most so many times the pixels a side that it is drawn with


def draw_photo(axes: Axes, photo: Image.Image) -> None:
    """The photo as large as it fits, in the upper left corner of ``axes``."""
    box = axes.get_window_extent()
    axes.imshow(_reduced(photo, SHARPEST * round(box.width), SHARPEST * round(box.height)), interpolation="hanning")
    axes.set_axis_off()
    axes.set_anchor("NW")


def _reduced(photo: Image.Image, width: int, height: int) -> Image.Image:
    """A photo that fits into a box in pixels; matplotlib would take 40 bytes for each pixel of a large one."""
    if photo.width <= width and photo.height <= height:
        return photo
    factor = min(width / photo.width, height / photo.height)
    size = [max(1, round(side * factor)) for side in photo.size]
    return photo.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def draw_list(
    axes: Axes,
    renderer: RendererAgg,
    names: Sequence[str],
    shares: np.ndarray,
    predicted: int,
    truth: str | None,
) -> None:
    """As many candidates as there is room for, best first, over bars of their share; the truth in words below them."""
    box = axes.get_window_extent()
    axes.set_axis_off()
    axes.set(xlim=(0, box.width), ylim=(box.height, 0))
    room = box.height - (0 if truth is None else ROW_HEIGHT)
    weights = ["bold" if index == predicted else "normal" for index in range(len(names))]
    rulers = {weight: Ruler(renderer, 9, weight) for weight in set(weights)}
    width = box.width - NAME_LEFT - SHARE_WIDTH
    lines = [rulers[weight].in_lines(name, width, MOST_LINES) for name, weight in zip(names, weights, strict=True)]
    heights = np.array([ROW_HEIGHT + LINE_HEIGHT * (len(parts) - 1) for parts in lines])
    below = np.cumsum(heights)
    rows = len(names) if below[-1] <= room else int(np.sum(below <= room - ROW_HEIGHT))
    y = 0.0
    for index in range(rows):
        _row(axes, y, heights[index], index, lines[index], shares, weights[index])
        y += heights[index]
    if rows < len(names):
        rest = f"and {len(names) - rows} more, together {100 * shares[rows:].sum():.1f}%"
        axes.text(NAME_LEFT, y + ROW_HEIGHT / 2, rest, size=9, color=FAINT, va="center_baseline")
        y += ROW_HEIGHT
    if truth is not None:
        y += ROW_HEIGHT / 2
        axes.plot(12, y, "*", color=TRUTH_COLOUR, markersize=14, markeredgecolor="black")
        axes.text(NAME_LEFT, y, truth, size=9, color=INK, va="center_baseline")


def _row(
    axes: Axes, y: float, height: float, index: int, lines: Sequence[str], shares: np.ndarray, weight: str
) -> None:
    """One candidate: its number, its name over a bar, its share."""
    relative, middle = shares[index] / shares.max(), y + height / 2
    style = {"size": 9, "color": INK, "weight": weight, "va": "center_baseline"}
    full = axes.get_xlim()[1] - NAME_LEFT + 6
    axes.barh(middle, full * shares[index], left=NAME_LEFT - 6, height=height - 4, color="#e4e9f1")
    axes.scatter(12, middle, 190, [SHARE_COLOURS(relative)], edgecolors=INK, linewidths=0.6)
    draw_number(axes, 12, middle, index + 1, relative)
    for number, line in enumerate(lines):
        above = (len(lines) - 1) / 2 - number
        axes.text(NAME_LEFT, middle - LINE_HEIGHT * above, line, parse_math=False, **style)
    axes.text(axes.get_xlim()[1] - 2, middle, f"{100 * shares[index]:.1f}%", ha="right", **style)
