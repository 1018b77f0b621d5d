"""Coastlines and borders of the Earth, offline.

They are Natural Earth's (naturalearthdata.com, 1:50m, version 4.1.0, public domain), as the npm package ``world-atlas``
2.0.2 (ISC, copyright 2013-2019 Michael Bostock) joins them. Borders are Natural Earth's: the ones that hold on the
ground, disputed or not. ``python -m tools.import_outlines`` simplified them into ``outlines.json`` beside this file,
whose lines are strings: Google's encoded polylines (ASCII 63 to 126, so they can stand in a page's script as they are),
but longitude before latitude, in units of ``degrees``.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("outlines.json")


@dataclass(frozen=True)
class Outlines:
    """Lines on the Earth, each (n, 2) [longitude, latitude] in degrees, straight between its points.

    A line is continuous: where it crosses the dateline its longitudes run on beyond 180 or -180 degrees.
    The ring of Antarctica runs around the pole: it ends where it began, but 360 degrees on.
    """

    land: tuple[np.ndarray, ...]  # closed rings: continents, islands, and inland seas, which run the other way round
    borders: tuple[np.ndarray, ...]  # between countries on land, not closed


@functools.cache
def outlines() -> Outlines:
    """The outlines in ``outlines.json``, read once a process.

    >>> max(outlines().land, key=len).shape[1]
    2
    """
    stored = json.loads(PATH.read_text(encoding="ascii"))
    land, borders = (tuple(decoded(line) * stored["degrees"] for line in stored[key]) for key in ("land", "borders"))
    return Outlines(land, borders)


def decoded(line: str) -> np.ndarray:
    """(n, 2) integers of an encoded polyline."""
    chunks = np.frombuffer(line.encode("ascii"), np.uint8).astype(np.int64) - 63
    ends = np.flatnonzero(chunks < 32)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(chunks)) - np.repeat(starts, ends - starts + 1)
    zigzag = np.add.reduceat((chunks & 31) << (5 * place), starts)
    steps = np.where(zigzag & 1, ~(zigzag >> 1), zigzag >> 1)
    return np.cumsum(steps.reshape(-1, 2), axis=0)


def encoded(line: np.ndarray) -> str:
    """The encoded polyline of (n, 2) integers (Google, "Encoded Polyline Algorithm Format")."""
    characters = []
    for step in np.diff(line, axis=0, prepend=np.zeros((1, 2), np.int64)).ravel().tolist():
        zigzag = ~(step << 1) if step < 0 else step << 1
        while zigzag >= 32:
            characters.append(chr((zigzag & 31 | 32) + 63))
            zigzag >>= 5
        characters.append(chr(zigzag + 63))
    return "".join(characters)
