"""Perceptual hashes by which a photo is found again though it, or the other one, was cropped.

A gallery photo is hashed twice, whatever happens to be looked for: its middle, which a crop of it still holds, and the
whole. Of a query photo, of which there are few, many windows are hashed: wherever the middle of the gallery photo may
lie in it, if it is a crop of that photo, and whatever part of it the gallery photo may be a crop of. Each hash has 64
bits (pHash: the signs, around their median, of the lowest frequencies), so a gallery of four million takes 64 MB.
"""

import itertools
from typing import NamedTuple

import imagehash
import numpy as np
from PIL import Image

BITS = 64
SIDE = 32  # pixels that a hash is made of, one way
CROP = 0.1  # of a side, the most that a crop is expected to take away at each end
LARGEST = 256  # pixels, the longer side of the query photo that windows are cut from


class Window(NamedTuple):
    """A part of a photo in shares of its width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def box(self, photo: Image.Image) -> tuple[float, float, float, float]:
        """In pixels, for ``Image.resize``, which refuses what sticks out by rounding."""
        width, height = photo.size
        return (
            max(0.0, self.left * width),
            max(0.0, self.top * height),
            min(float(width), self.right * width),
            min(float(height), self.bottom * height),
        )


WHOLE = Window(0.0, 0.0, 1.0, 1.0)
MIDDLE = Window(CROP, CROP, 1 - CROP, 1 - CROP)
# What a crop may have left of a photo, in steps that the hash forgives.
CROPS = tuple(
    Window(left, top, 1 - right, 1 - bottom)
    for left, top, right, bottom in itertools.product((0.0, CROP / 2, CROP), repeat=4)
)


def perceptual_hash(photo: Image.Image, window: Window = WHOLE) -> np.uint64:
    """The hash of a part of a photo."""
    # Cut and shrunk in one step: a crop would round the window to whole pixels.
    shrunk = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=window.box(photo))
    return np.packbits(imagehash.phash(shrunk).hash).view(np.uint64)[0]


def gallery_hashes(photo: Image.Image) -> np.ndarray:
    """(2,) uint64: the hashes of the middle and of the whole of a photo."""
    grey = photo.convert("L")
    return np.array([perceptual_hash(grey, MIDDLE), perceptual_hash(grey)])


def query_hashes(photo: Image.Image) -> np.ndarray:
    """(2, CROPS) uint64: what ``gallery_hashes`` of a photo may be that has the query photo in common with it.

    The first row holds where its middle would be if the query photo were each of ``CROPS`` of it, the second row these
    parts of the query photo.
    """
    grey = photo.convert("L")
    grey.thumbnail((LARGEST, LARGEST))
    return np.array(
        [
            [perceptual_hash(grey, _middle_in(crop)) for crop in CROPS],
            [perceptual_hash(grey, crop) for crop in CROPS],
        ]
    )


def _middle_in(crop: Window) -> Window:
    """Where the middle of a photo lies in a crop of it."""
    width, height = crop.right - crop.left, crop.bottom - crop.top
    return Window(
        (MIDDLE.left - crop.left) / width,
        (MIDDLE.top - crop.top) / height,
        (MIDDLE.right - crop.left) / width,
        (MIDDLE.bottom - crop.top) / height,
    )
