"""Pictures to write, and what is read back."""

import io

import numpy as np
from PIL import Image

# A GPS directory of EXIF.
MARTIGNY = {1: "N", 2: (46, 6, 3), 3: "E", 4: (7, 4, 12)}


def photo(width=48, height=32, seed=0):
    """A smooth random picture, so that JPEG changes it little."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)
