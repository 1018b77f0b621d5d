"""Make a gallery's metadata table of the GPS coordinates that a folder's photos carry in EXIF.

    python -m tools.gallery_from_exif my_photos my_photos/metadata.csv

reads the photos of a folder and its subfolders and writes IMG_ID (the path relative to the folder), LAT, LON and the
names of the nearest populated place. Photos without GPS coordinates are in no gallery: they are counted and named. A
photo that cannot be read, or whose coordinates are damaged, is named as a problem, and the exit code is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.jobs.files import atomic_path
from utils.jobs.outputs import check_outputs
from utils.jobs.progress import progress_bar
from utils.photos.exif import photo_coordinate
from utils.photos.formats import photo_names
from utils.photos.images import ImageError

if TYPE_CHECKING:
    import pandas as pd


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.gallery_from_exif")
    parser.add_argument("folder", type=Path, help="folder of photos")
    parser.add_argument("table", type=Path, help="metadata table (CSV) to write")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: write_table(args), quiet=args.quiet)


def write_table(args: argparse.Namespace) -> list[str]:
    """Write the metadata table and a summary. Returns the problems."""
    if not args.folder.is_dir():
        raise FileNotFoundError(f"{args.folder} is no folder")
    check_outputs([("table", args.table)])
    table, without, problems = read_folder(args.folder)
    if table.empty:
        raise ValueError("\n".join([f"{args.folder}: no photo with GPS coordinates", *problems]))
    with atomic_path(args.table) as temporary:
        table.to_csv(temporary, index=False)
    print(f"{args.table}: {len(table)} photos in {table['country'].nunique()} countries")
    if without:
        print(f"Left out, since they have no GPS coordinates: {len(without)} photos", *without, sep="\n  ")
    return problems


def read_folder(folder: Path) -> "tuple[pd.DataFrame, list[str], list[str]]":
    """The metadata table of a folder, the photos without coordinates, and problems."""
    import pandas as pd

    from utils.geography.gazetteer import TEXT_COLUMNS, Gazetteer

    names, points, without, problems = [], [], [], []
    for name in progress_bar(photo_names(folder), desc="reading EXIF", unit="photo"):
        try:
            point = photo_coordinate(folder / name)
        except ImageError as error:
            problems.append(str(error))
            continue
        if point is None:
            without.append(name)
        else:
            names.append(name)
            points.append(point)
    table = pd.DataFrame({"IMG_ID": names})
    table[["LAT", "LON"]] = pd.DataFrame(points, columns=["LAT", "LON"], dtype=float)
    return table.join(Gazetteer().lookup(table["LAT"], table["LON"])[list(TEXT_COLUMNS)]), without, problems


if __name__ == "__main__":
    sys.exit(main())
