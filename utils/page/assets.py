"""The parts of a page: its style, its script, the templates that it fills, and the Earth that its map shows."""

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from utils.geography import outlines
from utils.geography.gazetteer import Gazetteer
from utils.page.background import blue_marble

HERE = Path(__file__).parent
# In this order; each file says what it is. START shows what the page itself holds, which others have no use for.
SCRIPTS = ("view", "lines", "spread", "paint", "map", "controls", "fill", "photo", "list", "report")
START = "start"
TOWNS = 500  # the largest of the Earth
CROWDED, MANY_TOWNS = 60, 3000  # with more places than that, so many of the Earth instead of those near each place
BOXES = ((1.2, 60), (5.0, 60))  # degrees around a place, and how many of the largest towns within


def style() -> str:
    """CSS."""
    return _text("report.css")


def script(*more: str) -> str:
    """JavaScript: all of ``SCRIPTS``, and ``more`` of the files beside them."""
    return "\n".join(_text(f"js/{name}.js") for name in (*SCRIPTS, *more))


def templates() -> str:
    """HTML: templates that the script fills, and nothing that can be seen."""
    return _text("templates.html")


def world(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """What the map shows beside its pins, ready for JSON; names of towns also around ``points`` (degrees)."""
    return {"background": blue_marble(), "outlines": _outlines(), "towns": towns(points)}


def json_text(value: Any) -> str:
    """JSON that can stand within a script element: nothing in it ends the element, or begins a comment."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def towns(points: Sequence[tuple[float, float]]) -> list[tuple[str, float, float]]:
    """(name, latitude, longitude) of towns, the largest first."""
    # Places within the same degree have the same towns around them.
    cells = dict.fromkeys((round(latitude), round(longitude)) for latitude, longitude in points)
    boxes = [(-180.0, -90.0, 180.0, 90.0, MANY_TOWNS if len(cells) > CROWDED else TOWNS)]
    if len(cells) <= CROWDED:
        boxes += [(*_box(*cell, high), count) for cell in cells for high, count in BOXES]
    found = {_town(row): row.population for box in boxes for row in Gazetteer().towns(*box).itertuples()}
    return sorted(found, key=found.__getitem__, reverse=True)


def _box(latitude: float, longitude: float, high: float) -> tuple[float, float, float, float]:
    """West, south, east, north of a box that reaches ``high`` degrees up and down, and farther to its sides."""
    wide = min(1.6 * high / max(math.cos(math.radians(latitude)), 0.1), 180)
    return longitude - wide, latitude - high, longitude + wide, latitude + high


def _town(row: Any) -> tuple[str, float, float]:
    return row.city, round(row.latitude, 3), round((row.longitude + 180) % 360 - 180, 3)


@cache
def _outlines() -> dict[str, Any]:
    return json.loads(outlines.PATH.read_text(encoding="ascii"))


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
