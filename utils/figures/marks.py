"""The marks of a map: candidates with their numbers, the truth, and what lies outside."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from utils.figures.frame import WIDTH, Frame
from utils.figures.numbering import clusters, in_words
from utils.figures.placing import Placer
from utils.figures.style import DOTS_PER_INCH, INK
from utils.geography.geodesy import unit_vectors

TRUTH_COLOUR = "#00e5ff"
SHARE_COLOURS = LinearSegmentedColormap.from_list(
    "share", ["#fff7bc", "#fec44f", "#f1731c", "#c51b1b", "#7a0177"]
)  # light to dark, so it also reads without colour
LEAST_RADIUS, MORE_RADIUS = 8.5, 6.0  # pixels of a marker: an unlikely candidate's, and what the likeliest has more
FOLLOWER_RADIUS = 4.5  # of a candidate that shares the number of another
STAR_RADIUS = 9.0  # of the truth
NUMBER = {"weight": "bold", "ha": "center", "va": "center_baseline"}


def points_wide(pixels: float) -> float:
    """Pixels as the points that sizes of markers and lines are given in."""
    return pixels * 72 / DOTS_PER_INCH


def draw_number(axes: Axes, x: float, y: float, number: int, relative: float) -> None:
    """The number on a marker, white where its colour is dark."""
    dark = np.dot(SHARE_COLOURS(relative)[:3], (0.299, 0.587, 0.114)) < 0.6
    axes.text(x, y, str(number), size=8, color="white" if dark else "black", zorder=6, **NUMBER)


def draw_truth(axes: Axes, x: float, y: float) -> None:
    """A star, its middle at the truth."""
    axes.plot(x, y, "*", color=TRUTH_COLOUR, markersize=15, markeredgecolor="black", zorder=7, gid="truth")


def draw_candidates(
    axes: Axes,
    placer: Placer,
    pixels: np.ndarray,
    relative: np.ndarray,
    shown: Sequence[int],
    predicted: int,
    truth: np.ndarray | None,
) -> None:
    """Markers of the candidates ``shown``, best first, and their numbers.

    ``pixels`` (n, 2) and ``relative`` (n,), the share over the largest one, are those of all candidates, best first;
    ``truth`` (2,) is in pixels, too. Markers that would cover each other get one number each in a label beside them.
    """
    radii = LEAST_RADIUS + MORE_RADIUS * np.sqrt(relative)
    found = clusters(pixels, radii, sorted(shown, key=lambda index: index != predicted))
    labels = []
    if truth is not None:
        placer.take_disc(*truth, STAR_RADIUS)
    for leader, *others in found:
        _dot(axes, pixels[others], relative[others], np.full(len(others), FOLLOWER_RADIUS), 4)
        _dot(axes, pixels[[leader]], relative[[leader]], radii[[leader]], 4.5)
        for follower in others:
            placer.take_disc(*pixels[follower], FOLLOWER_RADIUS)
        placer.take_disc(*pixels[leader], radii[leader] + (4 if leader == predicted else 0))
        covered = truth is not None and np.linalg.norm(pixels[leader] - truth) < radii[leader] + STAR_RADIUS / 2
        if not covered:
            draw_number(axes, *pixels[leader], leader + 1, relative[leader])
        labelled = [*([leader] if covered else []), *others]
        if labelled:
            labels.append((*pixels[leader], radii[leader] + 3, in_words([index + 1 for index in labelled])))
    if predicted in shown:
        _ring(axes, *pixels[predicted], radii[predicted] + 3)
    for label in labels:
        placer.place(*label, far=True, size=8.5, weight="bold", color=INK, zorder=6)


def _dot(axes: Axes, pixels: np.ndarray, relative: np.ndarray, radii: np.ndarray, zorder: float) -> None:
    sizes = points_wide(2 * radii) ** 2
    axes.scatter(*pixels.T, sizes, SHARE_COLOURS(relative), edgecolors=INK, linewidths=0.7, zorder=zorder)


def _ring(axes: Axes, x: float, y: float, radius: float) -> None:
    """Around the answer: black on white."""
    for colour, width in (("white", 3.2), (INK, 1.6)):
        axes.scatter(x, y, points_wide(2 * radius) ** 2, "none", edgecolors=colour, linewidths=width, zorder=4.2)


def draw_path(axes: Axes, frame: Frame, start: np.ndarray, end: np.ndarray) -> None:
    """The great circle between two places in degrees, broken where it leaves the map on one side."""
    a, b = unit_vectors(*np.stack([start, end]).T)
    steps = np.linspace(0, 1, 200)[:, None]
    angle = np.arccos(np.clip(a @ b, -1, 1))
    along = a + steps * (b - a) if angle < 1e-6 else np.sin((1 - steps) * angle) * a + np.sin(steps * angle) * b
    latitude = np.degrees(np.arctan2(along[:, 2], np.hypot(along[:, 0], along[:, 1])))
    pixels = frame.pixels(np.stack([latitude, np.degrees(np.arctan2(along[:, 1], along[:, 0]))], axis=1))
    pixels[1:][np.abs(np.diff(pixels[:, 0])) > WIDTH / 2] = np.nan
    axes.plot(*pixels.T, color="white", linewidth=3, alpha=0.8, zorder=3)
    axes.plot(*pixels.T, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3)
