"""How GeoCLIP's points lie, and how many places the best of them are: what a radius for merging them is chosen by.

    python -m benchmarks.geoclip_points
    python -m benchmarks.geoclip_points --places dataset/im2gps3k/im2gps3k_places365.csv

Prints tables: how far the points are from their nearest neighbours; and for some places, whose own embeddings stand in
for those of photos taken there, how near the best points by cosine lie to the very best, and how many of them are left
when near ones are merged. A photo says less of its place than these do. The places are some of the points, drawn at
random, or those of a metadata table (IMG_ID, LAT, LON); of these it is also said how near the nearest point is.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.data_paths import check_files


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.geoclip_points")
    add = parser.add_argument
    add("--geoclip", type=Path, help="folder of a release of GeoCLIP's hub; default: the package")
    add("--places", type=Path, help="metadata table of the places; default: points drawn at random")
    add("--queries", type=at_least(1), default=1000, help="points that are drawn (%(default)s)")
    add("--topk", type=at_least(2), default=20, help="best points looked at (%(default)s)")
    add("--seed", type=int, default=0, help="of the draw (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure(args), quiet=args.quiet)


def measure(args: argparse.Namespace) -> list[str]:
    """Print the tables."""
    check_files([("geoclip", args.geoclip), ("places", args.places)])

    from benchmarks.work.geoclip_points import bound, drawn, merged_table, nearness_table, neighbours_table
    from utils.retrieval.geoclip_points import GeoClipPoints
    from utils.tables.metadata import read_points

    geoclip = GeoClipPoints.from_pretrained(args.geoclip)
    given, problems = read_points([args.places] if args.places else [])
    places = drawn(geoclip.points, args.queries, args.seed) if given is None else given
    tables = [neighbours_table(geoclip.points)]
    tables += [] if given is None else [bound(geoclip.points, given)]
    tables += [nearness_table(geoclip, places, args.topk), merged_table(geoclip, places, args.topk)]
    print("\n\n".join(tables))
    return problems


if __name__ == "__main__":
    sys.exit(main())
