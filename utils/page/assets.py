"""The parts of a page: its style, its script, the templates that it fills, and the Earth that its map shows."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from utils.geography import outlines
from utils.geography.gazetteer import Gazetteer
from utils.page.background import blue_marble

HERE = Path(__file__).parent
# In this order; each file says what it is. START shows what the page itself holds, which others have no use for.
SCRIPTS = ("view", "lines", "paint", "map", "controls", "fill", "photo", "list", "report")
START = "start"
TOWNS, NEAR_TOWNS = 500, 2500  # at most: the largest of the Earth, and those near the places of a page
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
    gazetteer = Gazetteer()
    found = {_town(row): row.population for row in gazetteer.towns(-180, -90, 180, 90, TOWNS).itertuples()}
    # Places within the same degree have the same towns around them.
    cells = dict.fromkeys((round(latitude), round(longitude)) for latitude, longitude in points)
    most = NEAR_TOWNS // max(len(cells), 1)
    for latitude, longitude in cells:
        for high, count in BOXES:
            wide = min(high / max(np.cos(np.radians(latitude)), 0.1) * 1.6, 180)
            box = (longitude - wide, latitude - high, longitude + wide, latitude + high)
            found |= {_town(row): row.population for row in gazetteer.towns(*box, min(count, most)).itertuples()}
    return sorted(found, key=found.__getitem__, reverse=True)


def _town(row: Any) -> tuple[str, float, float]:
    return row.city, round(row.latitude, 3), round((row.longitude + 180) % 360 - 180, 3)


@cache
def _outlines() -> dict[str, Any]:
    return json.loads(outlines.PATH.read_text(encoding="ascii"))


@cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
