"""A folder of photos of which some cannot be used."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from utils.photos.store import ImageStore


def write_photos(folder: Path, make_image: Callable[..., Image.Image]) -> tuple[list[str], ImageStore]:
    """Ids and store of six photos of different sizes; number 2 is no image, number 4 absurdly long."""
    folder.mkdir()
    ids = [f"{number}.png" for number in range(6)]
    for number, name in enumerate(ids):
        make_image(16 + 8 * number, 24, number).save(folder / name)
    (folder / ids[2]).write_bytes(b"no image")
    make_image(801, 4).save(folder / ids[4])
    return ids, ImageStore.from_paths([folder])
