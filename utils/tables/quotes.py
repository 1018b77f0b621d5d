"""Cells of a CSV file whose quote is opened and never closed: they swallow the rows after them without a word."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence


def check_quotes(path: str | os.PathLike, delimiter: str, coordinates: Sequence[int]) -> None:
    """Raise ``ValueError``, without the name of the file, for a cell that holds rows because its quote is not closed.

    A cell may have several lines. Here it is open at the end of the file, or goes on behind its closing quote, or one
    of its lines is a whole row: as many cells as the header has, numbers in the columns ``coordinates``.
    """
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        if not any(line.count('"') % 2 for line in file):  # then no cell has several lines
            return
        file.seek(0)
        read = _Read(file)
        rows = filter(None, csv.reader(read, delimiter=delimiter))  # blank lines count as none
        width = None
        for number, row in enumerate(rows, start=-1):
            lines = read.take()
            width = width or len(row)
            if len(lines) > 1 and _swallows(lines, delimiter, width, coordinates):
                where = "the header" if number < 0 else f"row {number}"
                raise ValueError(
                    f"{where} (line {read.number - len(lines) + 1}): a quote is opened and not closed, so that the "
                    'lines below are read as text: close it, or write "" for a quote in a text'
                )


class _Read:
    """The lines of a file, those kept that were read since the last ``take``."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.kept: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.kept.append(line)
            self.number += 1
            yield line

    def take(self) -> list[str]:
        """The lines of a row, without the blank ones before it."""
        kept, self.kept = self.kept, []
        first = next((i for i, line in enumerate(kept) if line.strip("\r\n")), 0)
        return kept[first:]


def _swallows(lines: Sequence[str], delimiter: str, width: int, coordinates: Sequence[int]) -> bool:
    """Whether ``lines``, which csv takes for one row of several, are rows in truth."""
    try:
        row = next(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return True
    rows = [_is_row(line, delimiter, width, coordinates) for line in lines]
    # Where the first cell has several lines, all other cells follow its end, which looks like a row. It is one if the
    # line in which that cell begins is one, too, but for the quote.
    end = row[0].count("\n")
    if end and not _is_row(lines[0].replace('"', "", 1), delimiter, width, coordinates):
        rows[end] = False
    return any(rows[1:])


def _is_row(line: str, delimiter: str, width: int, coordinates: Sequence[int]) -> bool:
    cells = next(csv.reader([line], delimiter=delimiter), [])
    if not coordinates or len(cells) != width:
        return False
    try:
        for column in coordinates:
            float(cells[column].replace(",", "."))
    except ValueError:
        return False
    return True
