"""Where the inset and the scale bar of a map go: into corners where nothing lies."""

from dataclasses import dataclass

import numpy as np

from utils.figures import inset, scale_bar
from utils.figures.frame import HEIGHT, WIDTH, Frame
from utils.figures.placing import Box

EDGE = 10  # pixels between the map's edge and a box
CLEAR = 22  # pixels between a box and a place
WIDENING, TRIES = 1.12, 8  # a frame without free corners is widened


@dataclass(frozen=True)
class Corners:
    """Boxes on a map; on the whole Earth there is no inset."""

    inset: Box | None
    scale: Box


def choose_corners(frame: Frame, points: np.ndarray) -> tuple[Frame, Corners]:
    """``frame``, wider if need be, and corners of it in which none of ``points`` (n, 2) in degrees lies."""
    if frame.whole_earth:
        free = [box for side in (0, 1) if _is_clear(box := _box(scale_bar.SIZE, side, 0), frame.pixels(points))]
        return frame, Corners(None, free[0] if free else _box(scale_bar.SIZE, 0, 0))
    for tried in range(TRIES):
        wider = frame.wider(WIDENING**tried)
        pixels = wider.pixels(points)
        for side, end in ((1, 0), (0, 0), (1, 1), (0, 1)):
            corners = Corners(_box(inset.SIZE, side, end), _box(scale_bar.SIZE, 1 - side, 0))
            if _is_clear(corners.inset, pixels) and _is_clear(corners.scale, pixels):
                return wider, corners
    return frame, Corners(_box(inset.SIZE, 1, 0), _box(scale_bar.SIZE, 0, 0))


def _box(size: tuple[int, int], side: int, end: int) -> Box:
    """The box of a size on the left (0) or right of the map, at its lower (0) or upper end."""
    left = EDGE + side * (WIDTH - 2 * EDGE - size[0])
    bottom = EDGE + end * (HEIGHT - 2 * EDGE - size[1])
    return left, bottom, left + size[0], bottom + size[1]


def _is_clear(box: Box, pixels: np.ndarray) -> bool:
    left, bottom, right, top = box
    x, y = pixels.T
    return not np.any((x > left - CLEAR) & (x < right + CLEAR) & (y > bottom - CLEAR) & (y < top + CLEAR))
