"""A photo that somebody asks about."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from utils.photos.exif import has_gps
from utils.photos.images import MAX_PIXELS, open_image, upright_rgb

IN_MEMORY = "photo in memory"


@dataclass(frozen=True)
class Photo:
    """Its pixels, and what it is called. Of EXIF nothing but the rotation is used."""

    image: Image.Image  # upright RGB
    path: str  # as it was given; what messages call the photo
    id: str  # its file name, or path relative to a folder: a gallery's photo of that IMG_ID is the same
    has_gps: bool = False  # whether it says where it was taken, which nobody reads

    @property
    def name(self) -> str:
        """The name of the file, which the random numbers of guesses depend on."""
        return Path(self.path).name

    @classmethod
    def open(
        cls,
        source: str | os.PathLike | bytes | Image.Image,
        image_id: str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> "Photo":
        """From a path, the bytes of a file, or a picture of PIL; ``image_id`` is by default the file's name.

        A file has at most ``max_pixels``.

        Raises ``ImageError`` naming a photo that cannot be read, and ``TypeError`` for anything else.
        """
        if isinstance(source, (str, os.PathLike)):
            image = open_image(source, max_pixels=max_pixels)
            return cls(image, str(source), image_id or Path(source).name, has_gps(Path(source)))
        if not isinstance(source, (bytes, Image.Image)):
            raise TypeError(f"a photo is a path, the bytes of a file or a picture of PIL, no {type(source).__name__}")
        is_picture = isinstance(source, Image.Image)
        image = upright_rgb(source, IN_MEMORY) if is_picture else open_image(source, IN_MEMORY, max_pixels)
        name = f"{IN_MEMORY} {hashlib.sha256(image.tobytes()).hexdigest()[:8]}"
        return cls(image, name, image_id or name, has_gps(source))
