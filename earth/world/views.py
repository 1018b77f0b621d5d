"""Two looks at a place: the clean tile of a gallery, and the photo somebody took of it."""

import numpy as np
from PIL import Image

from earth.recipe import TILE_PIXELS
from earth.world.imagery import Earth

HEADING_DEGREES = 45.0  # a photo's top points up to this far from north
LOG_SCALE = 0.25  # its footprint is between exp(-0.25) and exp(0.25) of a tile's
FLAT = 8.0  # standard deviation of the grey values (0..255) under which a tile shows nothing to recognise
CLOUD_COLOUR = np.array([0.93, 0.94, 0.96], dtype=np.float32)
HAZE_COLOUR = np.array([0.78, 0.84, 0.92], dtype=np.float32)


def is_flat(tile: np.ndarray) -> bool:
    """Whether a tile (height, width, 3) is nearly one colour: open desert, forest or ice."""
    return float(tile.mean(axis=-1).std()) < FLAT


def draw_pose(rng: np.random.Generator) -> tuple[float, float]:
    """Heading (degrees) and scale of a photo, as ``Earth.tile`` takes them."""
    return rng.uniform(-HEADING_DEGREES, HEADING_DEGREES), float(np.exp(rng.uniform(-LOG_SCALE, LOG_SCALE)))


def photo(earth: Earth, lat: float, lon: float, pose: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A photo of a place as it differs from the reference: (TILE_PIXELS, TILE_PIXELS, 3) uint8.

    Seen under another heading and scale (``pose``), then light, colour, haze, opaque clouds (on half of the photos, up
    to about a third of the picture) and sensor noise.
    """
    view = earth.tile(lat, lon, *pose).astype(np.float32) / 255
    view = view ** rng.uniform(0.8, 1.25) * rng.uniform(0.7, 1.25) * rng.uniform(0.9, 1.1, size=3)
    haze = rng.uniform(0, 0.35)
    view = view * (1 - haze) + HAZE_COLOUR * haze
    if rng.random() < 0.5:
        cover = _clouds(rng)[..., None]
        view = view * (1 - cover) + CLOUD_COLOUR * cover
    view = view + rng.normal(0, rng.uniform(0, 0.04), size=view.shape)
    return np.rint(np.clip(view, 0, 1) * 255).astype(np.uint8)


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Opacity (TILE_PIXELS, TILE_PIXELS) of soft-edged clouds: the highest parts of smooth noise."""
    noise = Image.fromarray(rng.normal(size=(7, 7)).astype(np.float32))
    noise = np.asarray(noise.resize((TILE_PIXELS, TILE_PIXELS), Image.Resampling.BICUBIC))
    level = np.quantile(noise, 1 - rng.uniform(0.05, 0.35))
    return np.clip((noise - level) * 4, 0, 1)
