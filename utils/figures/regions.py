"""Regions that hold the truth, drawn on a map."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from utils.figures.frame import HEIGHT, WIDTH, Frame
from utils.figures.placing import Placer
from utils.geography.discs import Region
from utils.geography.geodesy import haversine_km

COLOUR = "#0b4f8a"
LINES = {50: "solid", 90: (0, (5, 2))}  # of the levels in percent that are drawn
STEP = 4  # pixels between the places that are looked at


def draw_regions(axes: Axes, placer: Placer, frame: Frame, regions: Mapping[int, Region]) -> list[int]:
    """Outline each of ``regions``, by levels of ``LINES``, and name its level where there is room.

    What is smaller than some pixels lies under the marker of a candidate and is not drawn. Returns
    the levels that take the whole map.
    """
    grid = frame.grid(STEP)
    across, up = np.linspace(0, WIDTH, grid.shape[1]), np.linspace(0, HEIGHT, grid.shape[0])
    everywhere = []
    for level in sorted(regions, reverse=True):
        outside = outside_km(grid, regions[level])
        if outside.min() >= 0:
            continue
        axes.contourf(across, up, outside, [-np.inf, 0], colors=[COLOUR], alpha=0.1, zorder=2)
        if outside.max() <= 0:
            everywhere.append(level)
            continue
        edge = axes.contour(
            across, up, outside, [0], colors=[COLOUR], linestyles=[LINES[level]], linewidths=1.5, zorder=2.1
        )
        corners = np.concatenate([path.vertices for path in edge.get_paths()])
        x, y = corners[np.argmax(corners[:, 1])]
        placer.place(x, y, 2, f"{level}%", size=8.5, weight="bold", color=COLOUR, zorder=5)
    return everywhere


def outside_km(grid: np.ndarray, region: Region) -> np.ndarray:
    """(...,) km from places (..., 2) in degrees to the nearest edge of a disc; negative within a region."""
    latitude, longitude = np.moveaxis(grid, -1, 0)
    gaps = (haversine_km(latitude, longitude, disc.latitude, disc.longitude) - disc.radius_km for disc in region.discs)
    return np.minimum.reduce(list(gaps))
