"""Names of towns on a map, the largest first, where there is room."""

import numpy as np
from matplotlib.axes import Axes

from utils.figures.frame import Frame
from utils.figures.placing import Placer
from utils.geography.gazetteer import Gazetteer

ASKED, MOST = 150, 24  # towns that are looked at, and that are named
POLES = {"North Pole": (90.0, 0.0), "South Pole": (-90.0, 0.0)}
APART = 70  # pixels between two of them: parts of a city are no towns of their own
INK = "#33404f"


def draw_towns(axes: Axes, placer: Placer, frame: Frame) -> list[str]:
    """Name the poles, and of the largest towns those that fit; returns the names."""
    west, south, east, north = frame.box()
    found = Gazetteer().towns(west, south, east, north, ASKED)
    places = [*POLES.items(), *zip(found["city"], found[["latitude", "longitude"]].to_numpy().tolist(), strict=True)]
    names: list[str] = []
    chosen: list[np.ndarray] = []
    for name, point in places:
        x, y = frame.pixels(point).tolist()
        near = any(np.hypot(x - other[0], y - other[1]) < APART for other in chosen)
        if len(names) == MOST or near or not placer.is_free((x - 3, y - 3, x + 3, y + 3)):
            continue
        if placer.place(x, y, 3, name, size=8, color=INK, zorder=3.5) is not None:
            axes.plot(x, y, "o", markersize=3.2, color="white", markeredgecolor=INK, mew=0.9, zorder=3.4)
            placer.take_disc(x, y, 3)
            chosen.append(np.array([x, y]))
            names.append(name)
    return names
