"""Which photos of a large data set make a gallery: those in a box, so many a cell, one of a sequence.

What is chosen is a function of the photos and the seed, not of their order: every photo has a rank, the hash of seed
and id, and the smallest ranks win. A photo takes 40 bytes until it is decided.
"""

import hashlib
import math
from array import array
from dataclasses import dataclass

import numpy as np

from utils.geography.geodesy import EARTH_RADIUS_KM
from utils.tables.imported_photo import ImportedPhoto

KM_PER_DEGREE = math.pi * EARTH_RADIUS_KM / 180


@dataclass(frozen=True)
class Box:
    """Degrees; a box whose west is greater than its east crosses the antimeridian. Raises ``ValueError`` for none."""

    south: float
    west: float
    north: float
    east: float

    def __post_init__(self) -> None:
        if not (-90 <= self.south <= self.north <= 90 and -180 <= self.west <= 180 and -180 <= self.east <= 180):
            values = f"{self.south} {self.west} {self.north} {self.east}"
            raise ValueError(f"{values}: a box is south, west, north and east in degrees, south no greater than north")

    def __str__(self) -> str:
        return f"south {self.south}, west {self.west}, north {self.north}, east {self.east}"

    def __contains__(self, point: tuple[float, float]) -> bool:
        latitude, longitude = point
        if not self.south <= latitude <= self.north:
            return False
        if self.west <= self.east:
            return self.west <= longitude <= self.east
        return longitude >= self.west or longitude <= self.east


@dataclass(frozen=True)
class Selection:
    """What is wanted."""

    box: Box | None = None
    per_cell: int | None = None  # at most so many photos a cell
    cell_km: float = 1.0  # side of a cell
    one_per_sequence: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Choice:
    """Numbers of photos, in the order in which they were added."""

    chosen: np.ndarray
    again: np.ndarray  # of an id that was there before
    of_one_sequence: int  # left out for it
    beyond_cells: int


class Chooser:
    """Photos to choose from; ``add`` them all, then ``choose``."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self._key = selection.seed.to_bytes(8, "little")
        self._numbers, self._ids, self._ranks, self._sequences, self._cells = (array("Q") for _ in range(5))

    def add(self, number: int, photo: ImportedPhoto) -> None:
        self._numbers.append(number)
        self._ids.append(_hash(photo.image_id))
        self._ranks.append(_hash(photo.image_id, self._key))
        self._sequences.append(_hash(photo.sequence) if photo.sequence else 0)
        self._cells.append(cell(photo.latitude, photo.longitude, self.selection.cell_km))

    def choose(self) -> Choice:
        """Apply the selection to what was added."""
        numbers, ids, ranks, sequences, cells = (
            np.frombuffer(values, np.uint64) if len(values) else np.empty(0, np.uint64)
            for values in (self._numbers, self._ids, self._ranks, self._sequences, self._cells)
        )
        kept = np.sort(np.unique(ids, return_index=True)[1])
        again = np.setdiff1d(np.arange(len(ids)), kept)
        counts = [len(kept)]
        if self.selection.one_per_sequence:
            alone = kept[sequences[kept] == 0]
            kept = np.concatenate([alone, _first(kept[sequences[kept] != 0], sequences, ranks, 1)])
        counts.append(len(kept))
        if self.selection.per_cell is not None:
            kept = _first(kept, cells, ranks, self.selection.per_cell)
        counts.append(len(kept))
        chosen = np.sort(numbers[kept]).astype(np.int64)
        return Choice(chosen, numbers[again].astype(np.int64), counts[0] - counts[1], counts[1] - counts[2])


def _hash(text: str, key: bytes = b"") -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "little")


def _first(photos: np.ndarray, groups: np.ndarray, ranks: np.ndarray, count: int) -> np.ndarray:
    """Of ``photos`` those with the ``count`` smallest ranks of each group."""
    order = photos[np.lexsort((ranks[photos], groups[photos]))]
    begins = np.flatnonzero(np.diff(groups[order], prepend=~groups[order[:1]]))
    lengths = np.diff(begins, append=len(order))
    place = np.arange(len(order)) - np.repeat(begins, lengths)
    return order[place < count]


def cell(latitude: float, longitude: float, side_km: float) -> int:
    """The number of the cell that a point lies in.

    Cells are rows of equal height; a row is cut into as many columns of equal width as come nearest to the side at its
    middle, so that cells are about as large everywhere. Numbers mean nothing across other sides.
    """
    height = side_km / KM_PER_DEGREE
    row = min(int((latitude + 90) / height), math.ceil(180 / height) - 1)
    middle = min((row + 0.5) * height - 90, 90.0)
    columns = max(1, round(360 * KM_PER_DEGREE * math.cos(math.radians(middle)) / side_km))
    return row << 32 | int((longitude + 180) / 360 * columns) % columns
