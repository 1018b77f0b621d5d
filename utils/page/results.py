"""All files of one located photo: its ranking, its map, and where one is asked for its page."""

import os
from pathlib import Path

from utils.locating.results import write_results
from utils.page.entry import Located, entry
from utils.page.report import write_report


def write_all(
    located: Located, ranking: str | os.PathLike, picture: str | os.PathLike, page: str | os.PathLike | None
) -> list[str]:
    """Write them, and return a line for each that says what and where it is.

    The photo has been read and has an answer; ``located.name`` is its path or id, of which the page shows the name.
    """
    write_results(located.found, located.photo, {"photo": located.name}, ranking, picture, located.truth)
    lines = [f"Ranking: {ranking}", f"Map: {picture}"]
    if page is not None:
        name = Path(located.name).name
        write_report(page, [entry(Located(name, located.found, located.photo, located.truth))])
        lines.append(f"Report: {page}")
    return lines
