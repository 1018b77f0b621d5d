"""A photo that somebody asks about."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from utils.photos.exif import has_gps
from utils.photos.images import open_image, upright_rgb

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
    def open(cls, source: str | os.PathLike | bytes | Image.Image, image_id: str | None = None) -> "Photo":
        """From a path, the bytes of a file, or a picture of PIL; ``image_id`` is by default the file's name.

        Raises ``ImageError`` naming a photo that cannot be read, and ``TypeError`` for anything else.
        """
        if isinstance(source, (str, os.PathLike)):
            return cls(open_image(source), str(source), image_id or Path(source).name, has_gps(Path(source)))
        if not isinstance(source, (bytes, Image.Image)):
            raise TypeError(f"a photo is a path, the bytes of a file or a picture of PIL, no {type(source).__name__}")
        image = upright_rgb(source, IN_MEMORY) if isinstance(source, Image.Image) else open_image(source, IN_MEMORY)
        name = f"{IN_MEMORY} {hashlib.sha256(image.tobytes()).hexdigest()[:8]}"
        return cls(image, name, image_id or name, has_gps(source))
