"""The embedded gallery as other data sets are published, to try docs/gallery.md without 28 GB of photos.

    python -m earth.export_gallery mini

Writes, below a new folder,

    train.csv, images/train/00.zip ... 03.zip    as OpenStreetView-5M
    shards/0000.tar ... 0003.tar                 as WebDataset

Tiles, places and names are the gallery's; ids, rides and authors are made up.
"""

import argparse
import csv
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earth.recipe import DEFAULT_DIR
from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs

ARCHIVES = 4
FIRST_ID = 10**15
PER_RIDE, RIDES_PER_AUTHOR = 4, 50  # tiles of one ride lie anywhere
COLUMNS = (
    *("id", "latitude", "longitude", "country", "region", "sub-region", "city"),
    *("sequence", "creator_username", "creator_id"),
)
Row = dict[str, str | float]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.export_gallery")
    parser.add_argument("folder", type=Path, help="to make")
    parser.add_argument(
        "--gallery", type=Path, default=DEFAULT_DIR / "gallery", help="its metadata.csv and images.tar (%(default)s)"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: export(args), quiet=args.quiet)


def export(args: argparse.Namespace) -> list[str]:
    """Write the folder."""
    metadata, archive = args.gallery / "metadata.csv", args.gallery / "images.tar"
    check_files([("gallery", metadata), ("gallery", archive)])
    check_outputs(folders=[("folder", args.folder.parent)])
    from utils.geography.gazetteer import country_names
    from utils.jobs.folders import whole_folder
    from utils.photos.store import ImageStore
    from utils.tables.metadata import read_metadata

    codes = {name: code for code, name in country_names().items()}
    tiles = read_metadata(metadata)
    rows = [_row(number, tile, codes) for number, tile in enumerate(tiles.itertuples())]
    photos = list(zip(rows, tiles["IMG_ID"], strict=True))
    store = ImageStore.from_paths([archive])
    with whole_folder(args.folder) as folder:
        with open(folder / "train.csv", "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(rows)
        (folder / "images" / "train").mkdir(parents=True)
        (folder / "shards").mkdir()
        for number in range(ARCHIVES):
            with (
                zipfile.ZipFile(folder / "images" / "train" / f"{number:02}.zip", "w") as packed,
                tarfile.open(folder / "shards" / f"{number:04}.tar", "w") as shard,
            ):
                for row, image_id in photos[number::ARCHIVES]:
                    photo, _ = store.read(image_id)
                    packed.writestr(f"{number:02}/{row['id']}.jpg", photo)
                    _add(shard, f"{row['id']}.jpg", photo)
                    _add(shard, f"{row['id']}.json", json.dumps(row).encode())
    print(f"{args.folder}: {len(rows):,} tiles as OpenStreetView-5M and as WebDataset")
    return []


def _row(number: int, tile: Any, codes: Mapping[str, str]) -> Row:
    """What COLUMNS say of the ``number``-th ``tile``, a row of the metadata table; ``codes`` are those of countries."""
    ride = number // PER_RIDE
    author = ride // RIDES_PER_AUTHOR
    return {
        "id": str(FIRST_ID + number),
        "latitude": tile.LAT,
        "longitude": tile.LON,
        "country": codes.get(tile.country, ""),
        "region": tile.state,
        "sub-region": tile.county,
        "city": tile.city,
        "sequence": f"ride {ride}",
        "creator_username": f"mapper {author}",
        "creator_id": f"{author}.0",  # as theirs are written
    }


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    shard.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    sys.exit(main())
