"""How a CSV file is laid out: what separates its cells, and which of its columns is which.

The released tables have commas, UTF-8, and coordinates in LAT and LON. Tables that people bring may have semicolons or
tabs, columns called ``lat``, ``Longitude`` or ``lng``, and decimal commas: they are read where that can mean one thing
only, and refused otherwise, saying what was seen.
"""

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.tables.quotes import check_quotes

# Cells may be of any length: a list of answers or candidates soon has more than the 131,072 characters that csv allows
# by default. What a C long can hold on any system; the memory needed is that of the file.
csv.field_size_limit(2**31 - 1)

DELIMITERS = (",", ";", "\t")
LATITUDE, LONGITUDE = ("latitude", "lat"), ("longitude", "lon", "lng", "long")
# What a column may be called beside its own name, in small or capital letters.
ALIASES = {
    "LAT": LATITUDE,
    "LON": LONGITUDE,
    "latitude": LATITUDE,
    "longitude": LONGITUDE,
    "place": ("place",),
    "image": ("image",),
}
RELEASED = ("LAT", "LON")  # the names of the released tables come before all others
NOT_UTF8 = "is not UTF-8: save the file as UTF-8"


@dataclass(frozen=True)
class Layout:
    """What the header of a CSV file says."""

    delimiter: str
    header: tuple[str, ...]  # as it stands in the file
    columns: Mapping[str, str]  # name that we know -> the column's name in the file

    @property
    def names(self) -> list[str]:
        """The header in the names that we know."""
        known = {name: wanted for wanted, name in self.columns.items()}
        return [known.get(name, name) for name in self.header]


def read_layout(path: str | os.PathLike, required: Sequence[str], optional: Sequence[str] = ()) -> Layout:
    """The layout of the CSV file ``path``. Its delimiter is the one that gives the header all ``required`` columns.

    Of ``optional`` columns that are there twice the first counts. Raises ``ValueError``, without the name of the file,
    where no delimiter does, where two columns may be the same required one, where a quote is not closed, or for a pipe.
    """
    if Path(path).is_fifo():
        raise ValueError("it is a pipe, and is read more than once: save it as a file")
    headers = []
    for delimiter in DELIMITERS:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            headers.append(next(filter(None, csv.reader(file, delimiter=delimiter)), []))  # blank lines count as none
        found = {wanted: _matching(headers[-1], wanted) for wanted in (*required, *optional)}
        if all(found[wanted] for wanted in required):
            for wanted in required:
                if len(names := found[wanted]) > 1:
                    raise ValueError(f"columns {' and '.join(names)} may both be {wanted}: keep one of them")
            columns = {wanted: names[0] for wanted, names in found.items() if names}
            check_quotes(path, delimiter, _coordinates(headers[-1]))
            return Layout(delimiter, tuple(headers[-1]), columns)
    raise ValueError(_what_is_missing(max(headers, key=len), required))


def _matching(header: Sequence[str], wanted: str) -> list[str]:
    """The names in ``header`` that may be the column ``wanted``."""
    if wanted not in ALIASES or (wanted in RELEASED and wanted in header):
        return [name for name in header if name == wanted]
    return [name for name in header if name.strip().lower() in ALIASES[wanted]]


def _coordinates(header: Sequence[str]) -> list[int]:
    """Where a latitude and a longitude stand; empty where the header lacks one of them."""
    names = [name.strip().lower() for name in header]
    found = [[number for number, name in enumerate(names) if name in axis] for axis in (LATITUDE, LONGITUDE)]
    return [numbers[0] for numbers in found] if all(found) else []


def _what_is_missing(header: Sequence[str], required: Sequence[str]) -> str:
    shown = ", ".join(header)
    if not is_text(shown):
        return f"the header {NOT_UTF8}"
    missing = [wanted for wanted in required if not _matching(header, wanted)]
    return f"no column {', '.join(missing)}; " + (f"it has {shown[:300]}" if shown else "it is empty")


def is_text(cell: str) -> bool:
    """Whether a cell that was read with ``surrogateescape``, or a text from a list, is text that UTF-8 can write."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def has_decimal_commas(delimiter: str, cells: Iterable[str]) -> bool:
    """Whether a comma in the coordinates ``cells`` of a file can only be a decimal one.

    It is none where commas separate cells, nor where any coordinate has a point.
    """
    return delimiter != "," and not any("." in cell for cell in cells)


def parse_number(cell: str, decimal_comma: bool = False) -> float:
    """The number in a cell. Raises ``ValueError`` for what is none."""
    if decimal_comma and re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell):
        cell = cell.replace(",", ".")
    if "_" in cell:  # which Python takes for a separator of digits
        raise ValueError(f"{cell!r} is no number")
    return float(cell)
