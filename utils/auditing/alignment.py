"""Whether two photos show the same picture: one is laid over the other, and their edges are compared."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

from utils.auditing.hashes import CROP, WHOLE, Window

KEPT = 96  # pixels, the sides of the copies that windows are cut from
SIDE = 24  # pixels, of what is compared: finer detail is lost in re-encoding
AVERAGED = 2  # pixels of a photo, one way, that make one which is compared: each by itself is noise after re-encoding
LEAST_SIDE = 8  # pixels, of the smallest photos
STEPS = (0.025, 0.0125, 0.00625, 0.003)  # by which the borders of a window are moved, in shares of a side
# Which borders are moved: one, or two that face each other; each of them in and out.
MOVES = [
    tuple(way * moved for moved in borders)
    for borders in ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 1, 0), (0, 1, 0, 1))
    for way in (-1, 1)
]
PLAIN = 0.5  # levels of 255: a photo whose neighbouring pixels differ by less, at the root mean square, has no edges
SAME_COLOUR = 4.0  # levels of 255 in which the means of such photos may differ


class Start(NamedTuple):
    """Where to begin: ``window`` of the gallery photo, or of the query photo, is the whole of the other one."""

    window: Window = WHOLE
    of_query: bool = False


class Small(NamedTuple):
    """A photo as ``likeness`` takes it."""

    copy: Image.Image  # KEPT pixels wide and high
    side: int  # pixels, the finest at which the photo can be compared


def small(photo: Image.Image) -> Small:
    """Of an RGB photo."""
    side = min(SIDE, max(LEAST_SIDE, min(photo.size) // AVERAGED))
    return Small(photo.resize((KEPT, KEPT), Image.Resampling.BILINEAR), side)


def likeness(query: Small, gallery: Small, starts: Iterable[Start]) -> float:
    """Correlation, -1 to 1, of the differences between neighbouring pixels of two photos, made ``small``.

    Each photo is laid over the other as that of ``starts`` says which fits best, then better: which of the two is a
    part of the other is known only then. Brightness and contrast change nothing in it. Photos without edges are like
    each other, 1, where their colours agree, else 0.
    """
    starts = list(starts)
    side = min(query.side, gallery.side)
    values = []
    for of_query, larger, whole in ((False, gallery.copy, query.copy), (True, query.copy, gallery.copy)):
        target = _pixels(whole, side)
        windows = {start.window for start in starts if start.of_query == of_query}
        beginnings = [(_correlation(target, _pixels(larger, side, window)), window) for window in windows]
        if beginnings:
            values.append(_improved(*max(beginnings), target, larger))
    return max(values)


def _improved(best: float, window: Window, target: np.ndarray, larger: Image.Image) -> float:
    """The correlation of ``target`` with that window of ``larger`` which fits best, near one whose fit is ``best``."""
    for step in STEPS:
        while True:
            moved = [
                (_correlation(target, _pixels(larger, len(target), other)), other) for other in _moved(window, step)
            ]
            value, other = max(moved)
            if value <= best:
                break
            best, window = value, other
    return best


def _moved(window: Window, step: float) -> list[Window]:
    """The window with a border moved, or two that face each other, as far as the photo goes and a crop takes away."""
    moved = [Window(*(at + step * way for at, way in zip(window, ways, strict=True))) for ways in MOVES]
    return [
        other
        for other in moved
        if all(0 <= at <= 1 and abs(at - edge) <= CROP for at, edge in zip(other, WHOLE, strict=True))
    ]


def _pixels(photo: Image.Image, side: int, window: Window = WHOLE) -> np.ndarray:
    """(side, side, 3) levels."""
    shrunk = photo.resize((side, side), Image.Resampling.BILINEAR, box=window.box(photo))
    return np.asarray(shrunk, dtype=np.float32)


def _edges(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([np.diff(pixels, axis=0).ravel(), np.diff(pixels, axis=1).ravel()])


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    edges = _edges(first), _edges(second)
    strengths = [float(np.sqrt(np.mean(values**2))) for values in edges]
    if max(strengths) < PLAIN:
        return float(np.abs(first.mean((0, 1)) - second.mean((0, 1))).max() <= SAME_COLOUR)
    if min(strengths) == 0:
        return 0.0
    return float(np.mean(edges[0] * edges[1])) / (strengths[0] * strengths[1])
