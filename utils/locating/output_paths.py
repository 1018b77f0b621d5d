"""Where the results of one's photos go unless it is said: a folder for each, named by the photo."""

import os
from pathlib import Path

from utils.jobs.reading import read_json_object

OUTPUTS = Path("outputs")
RANKING, TABLE = "ranking.json", "locations.csv"


def ranking_paths(
    photo: str, ranking: str | os.PathLike | None = None, picture: str | os.PathLike | None = None
) -> tuple[Path, Path]:
    """The files for the ranking and the map of ``photo`` (path or IMG_ID), of which either may be given.

    They are ``outputs/NAME/ranking.json`` and ``map.png``; a map beside a given ranking has that one's name. Raises
    ``ValueError`` where the folder of that name has the ranking of another photo, or a file that is no ranking.
    """
    if ranking is not None:
        return Path(ranking), Path(ranking).with_suffix(".png") if picture is None else Path(picture)
    folder = OUTPUTS / Path(photo).stem
    found = folder / RANKING
    if found.is_file():
        other = str(read_json_object(found).get("photo"))
        if Path(other).resolve() != Path(photo).resolve():
            raise ValueError(f"{found} is of another photo, {other}: say with --output and --map where this one's go")
    return found, folder / "map.png" if picture is None else Path(picture)


def table_path(folder: str | os.PathLike) -> Path:
    """The table of the places of a folder's photos: ``outputs/NAME/locations.csv``."""
    return OUTPUTS / Path(folder).resolve().name / TABLE


def report_path(given: str | os.PathLike | None, beside: Path) -> Path | None:
    """The page: None where there is none, where ``given`` says, or where it is empty beside a ranking or a table.

    There it is ``report.html``, or has the name of a ranking or table that has a name of its own.
    """
    if given is None:
        return None
    if given:
        return Path(given)
    return beside.with_name("report.html") if beside.name in (RANKING, TABLE) else beside.with_suffix(".html")
