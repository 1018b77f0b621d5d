"""The photos of a folder located, with a page of them, made from what the log of their locations keeps of each."""

import os
from pathlib import Path

from PIL import Image

from utils.answer import Answer
from utils.jobs.progress import progress_bar
from utils.locating.folder import locate_into
from utils.locating.locations import Location
from utils.locator import Locator
from utils.page.entry import FORMAT, Entry, Located, entry, entry_of_row
from utils.page.pictures import Sizes
from utils.page.report import write_report
from utils.photos.formats import list_photos
from utils.photos.images import ImageError, open_image


def locate_with_page(
    locator: Locator, folder: Path, table: Path, page: str | os.PathLike | None = None
) -> list[Location]:
    """``locate_into`` with a ``locator``, and where one is asked for its ``page``."""
    if page is None:
        return locate_into(locator.locate_all, locator.identity, folder, table)
    report = FolderReport(folder)
    rows = locate_into(locator.locate_all, locator.identity, folder, table, report.entry)
    write_report(page, report.entries(rows))
    return rows


class FolderReport:
    """What a page tells of the photos of ``folder``, as they are located and in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes = Sizes.of(len(list_photos(folder).photos))

    def entry(self, name: str, found: Answer | ValueError) -> Entry:
        """Of a photo that has just been located."""
        return entry(Located(name, found, self._photo(name)), self.sizes)

    def entries(self, rows: list[Location]) -> list[Entry]:
        """Of all photos. Of one that was located when nobody asked for a report, what its row says."""
        return [self._of_row(row) for row in progress_bar(rows, desc="report", unit="photo")]

    def _of_row(self, row: Location) -> Entry:
        if row.shown is not None and row.shown.get("format") == FORMAT:
            return row.shown
        return entry_of_row(row, self._photo(row.file), self.sizes)

    def _photo(self, name: str) -> Image.Image | None:
        try:
            return open_image(self.folder / name)
        except ImageError:
            return None
