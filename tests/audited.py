"""Pictures for audits: alike only where they are the same."""

import io

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """Coarse and fine structure, as photographs have it, drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    layers = [rng.uniform(0, 255, (cells, cells, 3)) for cells in (4, 12)]
    coarse, fine = (
        np.asarray(Image.fromarray(layer.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC), dtype=float)
        for layer in layers
    )
    return Image.fromarray((0.6 * coarse + 0.4 * fine).astype(np.uint8))


def as_jpeg(photo: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def edge_crop(photo: Image.Image) -> Image.Image:
    """7% of the width gone at the left, 9% of the height at the bottom."""
    return photo.crop((round(0.07 * photo.width), 0, photo.width, round(0.91 * photo.height)))
