"""Photos as they look after they were saved as JPEG: how the original's models have seen theirs."""

import io

from PIL import Image


def as_jpeg(image: Image.Image, quality: int | None) -> Image.Image:
    """An RGB photo re-encoded as PIL saves a JPEG of this ``quality``, its default 75; None leaves it as it is.

    Raises ``ValueError`` for a photo that is too long for a JPEG (over 65,500 pixels).
    """
    if quality is None:
        return image
    file = io.BytesIO()
    try:
        image.save(file, "JPEG", quality=quality)
    except OSError as error:
        raise ValueError(f"{image.width} x {image.height} pixels do not go into a JPEG: {error}") from error
    return Image.open(file).convert("RGB")
