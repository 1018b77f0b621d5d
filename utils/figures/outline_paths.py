"""Land, coasts and borders as they lie on a map, in its pixels."""

import functools

import numpy as np
from matplotlib.path import Path

from utils.figures.frame import HEIGHT, WIDTH, Frame
from utils.geography.geodesy import EARTH_RADIUS_KM
from utils.geography.outlines import outlines

LONGEST = 1.0  # degrees: a longer stretch of an outline gets points, since it may be bent on the map
# Of what lies beyond 115 degrees around the middle of a close-up, nothing is seen: its corners are 105 away at most.
HORIZON_KM = 2 * EARTH_RADIUS_KM * np.sin(np.radians(57.5))
TURN = np.radians(15)  # in such steps land beyond the horizon is led around it
MIDDLE = np.array([WIDTH / 2, HEIGHT / 2])
END = np.full((1, 2), np.nan)


def land_path(frame: Frame) -> Path:
    """All land on the map, to be filled by the nonzero rule."""
    rings = _rings()
    if frame.whole_earth:
        parts = [part for ring in rings for part in _unrolled(frame, ring)]
    else:
        parts = [
            part
            for ring, pixels in zip(rings, _pixels(frame, rings), strict=True)
            for part in _seen(ring, pixels, frame)
        ]
    return Path.make_compound_path(*map(Path, parts)) if parts else Path(np.empty((0, 2)))


def line_path(frame: Frame, kind: str) -> np.ndarray:
    """(n, 2) pixels of the coasts (``land``) or the ``borders``, with a row of NaN after each line."""
    lines = _lines(kind)
    if frame.whole_earth:
        parts = [part for line in lines for part in _unrolled(frame, line)]
    else:
        parts = [part for part in _pixels(frame, lines) if _touches_map(part)]
        horizon = HORIZON_KM / frame.km_per_pixel
        parts = [np.where(np.hypot(*(part - MIDDLE).T)[:, None] < horizon, part, np.nan) for part in parts]
    return np.concatenate([END, *(row for part in parts for row in (part, END))])


@functools.cache
def _lines(kind: str) -> tuple[np.ndarray, ...]:
    """The outlines without stretches along the dateline, where islands were cut; (n, 2) [longitude, latitude] each."""
    found = []
    for line in getattr(outlines(), kind):
        cut = (np.abs(line[1:, 0]) == 180) & (line[1:, 0] == line[:-1, 0])
        found += np.split(line, np.flatnonzero(cut) + 1)
    return tuple(_with_points(line) for line in found if len(line) > 1)


@functools.cache
def _rings() -> tuple[np.ndarray, ...]:
    """Land as rings that close on a flat map, too: the one around the south pole is led there."""
    found = []
    for ring in outlines().land:
        if not np.allclose(ring[0], ring[-1]):
            ring = np.vstack([ring, (ring[-1, 0], -90), (ring[0, 0], -90), ring[0]])
        found.append(_with_points(ring))
    return tuple(found)


def _with_points(line: np.ndarray) -> np.ndarray:
    return _between(line, np.maximum(1, np.ceil(np.abs(np.diff(line, axis=0)).max(1) / LONGEST)).astype(int))


def _between(line: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``line`` (n, 2), each of its stretches in ``counts`` (n - 1,) equal parts."""
    if counts.max() == 1:
        return line
    first = np.cumsum(counts) - counts
    within = (np.arange(counts.sum()) - np.repeat(first, counts)) / np.repeat(counts, counts)
    place = np.append(np.repeat(np.arange(len(counts)), counts) + within, len(counts))
    return np.stack([np.interp(place, np.arange(len(line)), column) for column in line.T], axis=1)


def _pixels(frame: Frame, lines: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Every line (n, 2) in pixels of a close-up."""
    together = frame.pixels(np.concatenate(lines)[:, ::-1])
    return np.split(together, np.cumsum([len(line) for line in lines])[:-1])


def _touches_map(pixels: np.ndarray) -> bool:
    """Whether a line may be seen: the smallest box around it meets the map."""
    low, high = pixels.min(0), pixels.max(0)
    return bool(low[0] < WIDTH and low[1] < HEIGHT and high[0] > 0 and high[1] > 0)


def _area(ring: np.ndarray) -> float:
    """Twice the signed area of a ring (n, 2), positive where it runs counterclockwise."""
    x, y = (ring - ring[0]).T
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1])


def _unrolled(frame: Frame, line: np.ndarray) -> list[np.ndarray]:
    """A line on the whole Earth, once for each time that it appears there."""
    pixels = (line - (frame.projection.longitude, 0)) / 360 * WIDTH + MIDDLE
    return [part for turn in (-1, 0, 1) if _touches_map(part := np.add(pixels, (turn * WIDTH, 0)))]


def _seen(ring: np.ndarray, pixels: np.ndarray, frame: Frame) -> list[np.ndarray]:
    """A ring on a close-up, with what lies beyond the horizon moved there; none where it does not meet the map.

    On the flat map a ring around the antipode of its middle is turned inside out: the horizon is added as its outside.
    """
    if not _touches_map(pixels):
        return []
    x, y = (pixels - MIDDLE).T
    radius, horizon = np.hypot(x, y), HORIZON_KM / frame.km_per_pixel
    beyond = radius >= horizon
    if beyond.all():
        return []
    if beyond.any():
        polar = np.stack([np.minimum(radius, horizon), np.unwrap(np.arctan2(y, x))], axis=1)
        turns = np.where(beyond[1:] & beyond[:-1], np.abs(np.diff(polar[:, 1])), 0)
        radius, angle = _between(polar, np.maximum(1, np.ceil(turns / TURN)).astype(int)).T
        pixels = MIDDLE + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if _area(pixels) * _area(ring) >= 0:
        return [pixels]
    around = np.sign(_area(ring)) * np.linspace(0, 2 * np.pi, 49)
    return [pixels, MIDDLE + horizon * np.stack([np.cos(around), np.sin(around)], axis=1)]
