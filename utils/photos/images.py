"""Decoding a photo: any file that people have to upright 8-bit RGB, or an error that names it."""

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# More pixels than this (some 540 MB of RGB) is taken for a decompression bomb; PIL draws its line here too.
MAX_PIXELS = 178_956_970
# Qwen-VL's preprocessing takes no photo that is longer by more than this factor one way than the other.
MAX_ASPECT = 200
# An id may leave the extension out; these are tried after the id itself, in this order.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")


class ImageError(ValueError):
    """A photo that is missing or cannot be decoded; the message names it."""


def open_image(source: str | os.PathLike | bytes | BinaryIO, name: str | None = None) -> Image.Image:
    """Decode one photo to upright 8-bit RGB.

    EXIF rotation is applied, transparency composited over white, 16-bit grey scaled to 8 bits, of an
    animation the first frame taken.

    Args:
        source: path, encoded bytes, or a binary file.
        name: what an error calls the photo; a path names itself.

    Raises:
        ImageError: for what is missing, truncated, no image, over MAX_PIXELS or MAX_ASPECT, or of a pixel type
            without a defined range (floating point, 32-bit integers).
    """
    if name is None:
        name = str(source) if isinstance(source, (str, os.PathLike)) else "image in memory"
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise ValueError(f"{image.width} x {image.height} pixels are longer than {MAX_ASPECT} : 1")
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:  # PIL would name the buffer
        raise ImageError(f"{name}: not an image of a known format") from error
    # Malformed bytes lead PIL's decoders into exceptions of any type, and none may cost the other photos.
    except Exception as error:
        raise ImageError(f"{name}: {type(error).__name__}: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any decoded image as 8-bit RGB."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("32-bit pixels have no defined range")
        # 65535 / 257 = 255. Older PIL clips at 255 instead of scaling, which turns photos white.
        scaled = np.rint(np.divide(grey, 257, dtype=np.float32))
        return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")
