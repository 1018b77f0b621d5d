"""What lies outside of a map: arrows at its edge, with numbers and distances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from utils.figures.frame import HEIGHT, WIDTH, Frame
from utils.figures.numbering import in_words
from utils.figures.placing import Box, Placer
from utils.figures.style import INK

INSIDE = 13  # pixels from the edge to the middle of an arrow
TOGETHER = 36  # pixels: arrows nearer than this are one
ARROW = np.array([(9, 0), (-7, 6), (-4, 0), (-7, -6)])  # pixels ahead and to the left
MIDDLE = np.array([WIDTH / 2, HEIGHT / 2])


@dataclass(frozen=True)
class Outside:
    """A place that is not on the map."""

    point: tuple[float, float]  # latitude, longitude in degrees
    distance_km: float  # from the answer
    number: int | None  # of a candidate; None: it is the truth
    note: str = ""  # what else there is, such as a region


def draw_outside(axes: Axes, placer: Placer, frame: Frame, places: Sequence[Outside], colour: str = INK) -> None:
    """An arrow for each direction in which ``places`` lie, best first, named by their numbers."""
    groups: list[tuple[np.ndarray, np.ndarray, list[Outside]]] = []
    for place in places:
        towards = frame.pixels(place.point) - MIDDLE
        spot = _spot(placer, towards)
        near = [members for other, _, members in groups if np.linalg.norm(other - spot) < TOGETHER]
        if near:
            near[0].append(place)
        else:
            groups.append((spot, towards, [place]))
    for spot, towards, members in groups:
        spot = _spot(placer, towards)
        ahead = towards / np.linalg.norm(towards)
        arrow = spot + ARROW @ np.array([ahead, (-ahead[1], ahead[0])])
        axes.fill(*arrow.T, facecolor=colour, edgecolor="white", linewidth=0.8, zorder=6)
        placer.take_disc(*spot, 8)
        placer.place(*spot, 8, _words(members), far=True, size=8.5, weight="bold", color=INK, zorder=6)


def _spot(placer: Placer, towards: np.ndarray) -> np.ndarray:
    """The free pixel nearest to where the way from the middle leaves the map."""
    reach = MIDDLE - INSIDE
    leaving = MIDDLE + towards * np.min(reach / np.maximum(np.abs(towards), 1e-9))
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * reach + MIDDLE
    place = np.linspace(0, 4, 321)
    edge = np.stack([np.interp(place, np.arange(5), column) for column in corners.T], axis=1)
    nearest = np.vstack([leaving, edge[np.argsort(np.linalg.norm(edge - leaving, axis=1))]])
    return next(spot for spot in nearest if placer.is_free(_box(spot)))


def _box(spot: np.ndarray) -> Box:
    x, y = spot.tolist()
    return x - 9, y - 9, x + 9, y + 9


def _words(members: Sequence[Outside]) -> str:
    """Such as "3, 5 · 3,900 km"."""
    numbers = [member.number for member in members if member.number is not None]
    named = in_words(numbers) if numbers else "truth"
    distances = [member.distance_km for member in members]
    low, high = f"{min(distances):,.0f}", f"{max(distances):,.0f}"
    notes = sorted({member.note for member in members if member.note})
    return " · ".join([named, f"{low} km" if max(distances) < 1.1 * min(distances) else f"{low}-{high} km", *notes])
