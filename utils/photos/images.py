"""Decoding a photo: any file that people have to upright 8-bit RGB, or an error that names it."""

import io
import os
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from utils.photos.formats import UnknownFormat, open_photo
from utils.photos.mending import mended

# More pixels than this (1 GiB as PIL holds them) are taken for a decompression bomb; phones take 200 million.
MAX_PIXELS = 2**28
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # PIL refuses twice as many, by itself it would refuse less than ours
# Qwen-VL's preprocessing takes no photo that is longer by more than this factor one way than the other.
MAX_ASPECT = 200

# What undoes an EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """A photo that is missing or cannot be decoded; the message names it."""


class _BadSize(ValueError):
    pass


def open_image(
    source: str | os.PathLike | bytes | BinaryIO, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decode one photo of any of the formats of ``utils/photos/formats.py`` to upright 8-bit RGB.

    EXIF rotation is applied, transparency composited over white, 16-bit grey scaled to 8 bits, of an
    animation the first frame taken. Damage that costs no pixel is overlooked: in EXIF, in what else stands beside the
    picture in a PNG, and a JPEG's missing end-of-image marker.

    Args:
        source: path, encoded bytes, or a binary file.
        name: what an error calls the photo; a path names itself.
        max_pixels: that a photo may have, MAX_PIXELS at most.

    Raises:
        ImageError: for what is missing, truncated, no image, over max_pixels or MAX_ASPECT, or of a pixel type
            without a defined range (floating point, 32-bit integers).
    """
    if name is None:
        name = str(source) if isinstance(source, (str, os.PathLike)) else "image in memory"
    try:
        if isinstance(source, (str, os.PathLike)):
            if os.path.exists(source) and not os.path.isfile(source):  # a pipe would be waited for, a device never end
                raise UnknownFormat("no regular file")
            with open(source, "rb") as file:
                return _decoded(file, max_pixels)
        return _decoded(io.BytesIO(source) if isinstance(source, bytes) else source, max_pixels)
    # Malformed bytes lead PIL's decoders into exceptions of any type, and none may cost the other photos.
    except Exception as error:
        raise _named(error, name, max_pixels) from error


def upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """A picture of PIL, as it was opened from any file, as ``open_image`` would have read it: upright 8-bit RGB.

    Raises ``ImageError``, which calls it ``name``, as there.
    """
    try:
        _check_size(image, MAX_PIXELS)
        return _converted(image)
    except Exception as error:
        raise _named(error, name, MAX_PIXELS) from error


def _named(error: Exception, name: str, max_pixels: int) -> ImageError:
    if isinstance(error, (UnknownFormat, _BadSize)):
        return ImageError(f"{name}: {error}")
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"{name}: more than {_megapixels(max_pixels)} megapixels ({error})")
    # Python's own words for a file that cannot be opened end with its path, which stands before them already.
    why = isinstance(error, OSError) and error.strerror
    return ImageError(f"{name}: {why or str(error) or type(error).__name__}")


def _decoded(file: BinaryIO, max_pixels: int) -> Image.Image:
    try:
        image = _loaded(file, max_pixels)
    except (_BadSize, Image.DecompressionBombError):
        raise
    except Exception:
        file.seek(0)
        data = mended(file)
        if data is None:
            raise
        image = _loaded(io.BytesIO(data), max_pixels)
    return _converted(image)


def _converted(image: Image.Image) -> Image.Image:
    photo = _to_rgb(_upright(image))
    photo.info = {}  # the rotation is applied: nothing may ask for it again
    return photo


def _loaded(file: BinaryIO, max_pixels: int) -> Image.Image:
    """The photo with its pixels, once its head has said that they are not too many."""
    image = open_photo(file)
    _check_size(image, max_pixels)
    image.load()
    return image


def _check_size(image: Image.Image, max_pixels: int) -> None:
    size = f"{image.width} x {image.height} pixels"
    pixels = image.width * image.height
    if not pixels:
        raise _BadSize(f"{size}")
    if pixels > max_pixels:
        raise _BadSize(f"{size}, {_megapixels(pixels)} megapixels, are more than {_megapixels(max_pixels)}")
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise _BadSize(f"{size} are longer than {MAX_ASPECT} : 1")


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.6g}"


def _upright(image: Image.Image) -> Image.Image:
    """A copy that is rotated as EXIF says; damaged EXIF, which leads PIL into exceptions of any type, says nothing."""
    try:
        method = _UPRIGHT.get(image.getexif().get(Base.Orientation))
    except Exception:
        method = None
    return image.copy() if method is None else image.transpose(method)


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
    return image if image.mode == "RGB" else image.convert("RGB")
