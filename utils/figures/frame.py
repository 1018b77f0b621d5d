"""What a map of candidates shows: a close-up of the likely places, or the whole Earth where they are that far apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.figures.projections import EqualArea, PlateCarree
from utils.geography.discs import Disc
from utils.geography.geodesy import EARTH_RADIUS_KM, haversine_km, unit_vectors

WIDTH, HEIGHT = 1000, 500  # pixels of the map; twice as wide as high, as the whole Earth is
MARGIN = 56  # pixels around the framed places
LEAST_KM = 200.0  # height of a map: closer, the outlines are too coarse
NEAR_KM = 150.0  # frames below this radius are as good as each other
SHARE_OF_HALVING = 1 / 12  # so much of the shares may be left out for a frame of half the radius
WIDEST_KM = 9000.0  # half the width of a close-up: 90 degrees; beyond, the whole Earth is shown
WITH_TRUTH = 4  # the truth is framed up to so many times the radius of the likely places
TRUTH_KM = 600.0  # or up to here
WITH_DISC = 3  # a disc is framed up to so many times that radius


@dataclass(frozen=True)
class Frame:
    """A map of WIDTH x HEIGHT pixels, counted from its lower left corner, around the centre of a projection."""

    projection: EqualArea | PlateCarree
    km_per_pixel: float

    @property
    def whole_earth(self) -> bool:
        """Whether it is no close-up."""
        return isinstance(self.projection, PlateCarree)

    def pixels(self, points: ArrayLike) -> np.ndarray:
        """(..., 2) x and y in pixels of ``points`` (..., 2) [latitude, longitude]."""
        points = np.asarray(points, dtype=np.float64)
        xy = np.stack(self.projection.project(points[..., 0], points[..., 1]), axis=-1)
        return xy / self.km_per_pixel + (WIDTH / 2, HEIGHT / 2)

    def degrees(self, pixels: ArrayLike) -> np.ndarray:
        """(..., 2) [latitude, longitude] at ``pixels`` (..., 2)."""
        xy = (np.asarray(pixels, dtype=np.float64) - (WIDTH / 2, HEIGHT / 2)) * self.km_per_pixel
        return np.stack(self.projection.unproject(xy[..., 0], xy[..., 1]), axis=-1)

    def holds(self, points: ArrayLike, margin: float = 0.0) -> np.ndarray:
        """(...,) whether ``points`` (..., 2) lie within the map, ``margin`` pixels from its edges."""
        pixels = self.pixels(points)
        return ((pixels >= margin) & (pixels <= (WIDTH - margin, HEIGHT - margin))).all(-1)

    def grid(self, step: float) -> np.ndarray:
        """(rows, columns, 2) [latitude, longitude] at pixels ``step`` apart, south first; edges are included."""
        across, up = (np.linspace(0, side, round(side / step) + 1) for side in (WIDTH, HEIGHT))
        return self.degrees(np.stack(np.meshgrid(across, up), axis=-1))

    def box(self) -> tuple[float, float, float, float]:
        """West, south, east and north of the map in degrees; east is above west, beyond 180 across the dateline."""
        if self.whole_earth:
            return self.projection.longitude - 180, -90.0, self.projection.longitude + 180, 90.0
        middle = self.projection.longitude
        latitude, longitude = np.moveaxis(self.grid(10), -1, 0)
        east = (longitude - middle + 180) % 360 - 180
        west, east = middle + east.min(), middle + east.max()
        south, north = latitude.min(), latitude.max()
        if self.holds((90.0, 0.0)) or self.holds((-90.0, 0.0)):
            west, east = middle - 180, middle + 180
            south, north = (south, 90.0) if self.latitude > 0 else (-90.0, north)
        return float(west), float(south), float(east), float(north)

    @property
    def latitude(self) -> float:
        """Of the middle."""
        return 0.0 if self.whole_earth else self.projection.latitude

    def wider(self, factor: float) -> "Frame":
        """The same middle with more around it."""
        return Frame(self.projection, self.km_per_pixel * factor)


def likely(points: np.ndarray, shares: np.ndarray, predicted: int) -> np.ndarray:
    """Which of ``points`` (n, 2) a map should frame: those within some distance of the predicted one.

    A wider frame is taken only for places whose ``shares`` (n,) are worth it: doubling its radius takes
    ``SHARE_OF_HALVING`` of them. So an outlier nobody believes stays outside.
    """
    distances = haversine_km(*points[predicted], *points.T)
    order = np.argsort(distances, kind="stable")
    left_out = 1 - np.cumsum(shares[order])
    cost = np.log2(np.maximum(distances[order], NEAR_KM)) + left_out / SHARE_OF_HALVING
    return order[: int(np.argmin(cost)) + 1]


def frame_around(
    points: np.ndarray,
    shares: np.ndarray,
    predicted: int,
    truth: tuple[float, float] | None = None,
    discs: Sequence[Disc] = (),
) -> Frame:
    """The frame of the likely places, and of the truth and of discs that are not much further or larger.

    The whole Earth has the prediction's longitude in the middle, so that places around the dateline stay together.
    """
    chosen = points[likely(points, shares, predicted)]
    radius = max(NEAR_KM, float(haversine_km(*points[predicted], *chosen.T).max()))
    if truth is not None and haversine_km(*points[predicted], *truth) <= max(TRUTH_KM, WITH_TRUTH * radius):
        chosen = np.vstack([chosen, truth])
    for disc in discs:
        reach = haversine_km(*points[predicted], disc.latitude, disc.longitude) + disc.radius_km
        if reach <= WITH_DISC * radius:
            chosen = np.vstack([chosen, disc.boundary(32)])
    return close_up(chosen) or whole_earth(points[predicted, 1])


def whole_earth(longitude: float) -> Frame:
    """The Earth with a longitude in the middle."""
    return Frame(PlateCarree(longitude), 2 * np.pi * EARTH_RADIUS_KM / WIDTH)


def close_up(points: np.ndarray) -> Frame | None:
    """The closest frame with ``points`` (n, 2) around its middle; None where they are too far apart for one."""
    up = unit_vectors(*points.T).mean(0)
    if np.linalg.norm(up) < 0.1:
        return None
    centre = np.degrees([np.arctan2(up[2], np.hypot(up[0], up[1])), np.arctan2(up[1], up[0])])
    for _ in range(6):
        projection = EqualArea(*centre.tolist())
        if haversine_km(*centre, *points.T).max() > WIDEST_KM * 1.2:
            return None
        x, y = projection.project(*points.T)
        middle = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
        centre = np.array(projection.unproject(*middle))
    projection = EqualArea(*centre.tolist())
    x, y = np.abs(projection.project(*points.T))
    per_pixel = max(x.max() / (WIDTH / 2 - MARGIN), y.max() / (HEIGHT / 2 - MARGIN), LEAST_KM / HEIGHT)
    return None if per_pixel * WIDTH / 2 > WIDEST_KM else Frame(projection, float(per_pixel))
