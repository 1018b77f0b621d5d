"""Make a gallery's metadata table of a foreign data set, and a ledger of whose each photo is.

    python -m tools.import_gallery osv5m dataset/osv5m/train.csv dataset/paris/metadata.csv \\
        --bbox 48.81 2.22 48.91 2.47 --per_cell 20 --one_per_sequence --image_data_path dataset/osv5m/images/train
    python -m tools.import_gallery webdataset shards/*.tar dataset/there/metadata.csv \\
        --licence "CC BY-SA 4.0" --source "https://www.mapillary.com/app/?pKey={id}"

Of OpenStreetView-5M it reads train.csv or test.csv; of WebDataset shards, tars, the JSON object beside each photo, and
first makes the indexes that they lack. It writes IMG_ID, LAT, LON and place names, and beside the table its ledger,
metadata.ledger.csv: author, licence and source of every photo, which are to be shown with it. The photos stay where
they are: zips and tars are read as they are (docs/gallery.md). A licence of Creative Commons gets its address by its
name, where none is given.

With --image_data_path only photos that are there count, so a part of the data set will do. The same seed gives the same
gallery. Rows that cannot be used are named and cost only themselves; the exit code is then 1.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import add_quiet, at_least, script_parser
from utils.cli.given import refuse
from utils.data_paths import check_files
from utils.jobs.outputs import check_apart, check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.import_gallery")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{osv5m,webdataset}")
    osv5m = kinds.add_parser("osv5m", help="OpenStreetView-5M")
    osv5m.add_argument("source", nargs=1, type=Path, metavar="CSV", help="its train.csv or test.csv")
    osv5m.add_argument("--image_data_path", nargs="+", help="its zips: only photos in them count")
    shards = kinds.add_parser("webdataset", help="shards with a JSON object beside each photo")
    shards.add_argument("source", nargs="+", type=Path, metavar="TAR", help="the shards")
    shards.add_argument("--licence", default="", help="of photos whose JSON object names none, such as CC BY-SA 4.0")
    shards.add_argument(
        "--source",
        dest="source_pattern",
        type=source_pattern,
        metavar="PATTERN",
        help="where a photo whose JSON object names no source is from, {id} standing for its key: "
        "https://www.mapillary.com/app/?pKey={id}",
    )
    for kind in (osv5m, shards):
        add = kind.add_argument
        add("table", type=Path, help="metadata table (CSV) to write; the ledger goes beside it")
        add(
            "--bbox",
            nargs=4,
            type=float,
            metavar=("S", "W", "N", "E"),
            help="only photos in this box, in degrees; west greater than east crosses the antimeridian",
        )
        add("--per_cell", type=at_least(1, most=2**31), help="at most so many photos a cell")
        add("--cell_km", type=at_least(0.001, float), help="side of a cell, with --per_cell (1)")
        add("--one_per_sequence", action="store_true", help="at most one photo of a ride, whose shots look alike")
        add("--seed", type=at_least(0, most=2**64 - 1), default=0, help="of the choice (%(default)s)")
        add_quiet(add, default=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    given = {name for name, value in vars(args).items() if value is not None}
    if "per_cell" not in given:
        refuse(parser, given, ("cell_km",), "without --per_cell")
    args.cell_km = 1.0 if args.cell_km is None else args.cell_km
    return args


def source_pattern(text: str) -> str:
    """The type of --source."""
    if "{id}" not in text:
        raise argparse.ArgumentTypeError(f"{text}: it has no {{id}}, which stands for a photo's key")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: write_gallery(args), quiet=args.quiet)


def write_gallery(args: argparse.Namespace) -> list[str]:
    """Write the metadata table and the ledger, and say what became of the rows. Returns the problems."""
    archives = args.image_data_path or [] if args.kind == "osv5m" else []
    photos = [("image_data_path", path) for path in archives]
    check_files([*((None, path) for path in args.source), *photos])
    check_no_folders(args)

    from utils.calibration import counted
    from utils.photos.store import ImageStore
    from utils.tables.gallery_import import check_table, import_gallery
    from utils.tables.gallery_selection import Box, Selection
    from utils.tables.ledger import ledger_path
    from utils.tables.osv5m import read_osv5m
    from utils.tables.webdataset import index_shards, read_webdataset

    outputs = [("table", args.table), ("table", ledger_path(args.table))]
    check_apart(outputs, [*(("source", path) for path in args.source), *photos])
    check_table(args.table)
    check_outputs(outputs)
    box = Box(*args.bbox) if args.bbox else None
    selection = Selection(box, args.per_cell, args.cell_km, args.one_per_sequence, args.seed)
    damaged = index_shards(args.source) if args.kind == "webdataset" else []
    read = (
        partial(read_webdataset, args.source, args.licence, args.source_pattern or "")
        if args.kind == "webdataset"
        else partial(read_osv5m, args.source[0])
    )
    done = import_gallery(read, args.table, selection, ImageStore.from_paths(archives) if archives else None)
    kept, rows = counted(done.photos, "photo", "photos"), counted(done.rows, "row", "rows")
    print(f"{args.table}: {kept} of {rows}; {ledger_path(args.table)}: whose they are")
    for why, count in done.left_out.items():
        if count:
            print(f"Left out, {why}: {count:,}")
    return damaged + done.problems


def check_no_folders(args: argparse.Namespace) -> None:
    """Raise ``ValueError`` for the first folder that is given in place of a file."""
    meant = "its tars, as in {}/*.tar" if args.kind == "webdataset" else "its table, as in {}/train.csv"
    for path in args.source:
        if path.is_dir():
            raise ValueError(f"{path} is a folder: name {meant.format(path)}")
    if args.table.is_dir():
        raise ValueError(f"table: {args.table} is a folder: name a CSV file in it")


if __name__ == "__main__":
    sys.exit(main())
