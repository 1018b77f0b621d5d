"""How GeoCLIP's points lie, and how many places the best of them are: what a radius for merging them is chosen by.

    python -m benchmarks.geoclip_points

Prints three tables. How far the points are from their nearest neighbours. Then, for some of the points drawn at random,
whose own embeddings stand in for those of photos taken there: how near the best points by cosine lie to the very best,
and how many of them are left when near ones are merged. A photo says less of its place than these do.
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
    add("--queries", type=at_least(1), default=1000, help="points whose embeddings are searched for (%(default)s)")
    add("--topk", type=at_least(2), default=20, help="best points looked at (%(default)s)")
    add("--seed", type=int, default=0, help="of the draw (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure(args), quiet=args.quiet)


def measure(args: argparse.Namespace) -> list[str]:
    """Print the tables."""
    check_files([("geoclip", args.geoclip)])

    from benchmarks.work.geoclip_points import merged_table, nearness_table, neighbours_table
    from utils.retrieval.geoclip_points import GeoClipPoints

    places = GeoClipPoints.from_pretrained(args.geoclip)
    print(neighbours_table(places.points))
    print()
    print(nearness_table(places, args.queries, args.topk, args.seed))
    print()
    print(merged_table(places, args.queries, args.topk, args.seed))
    return []


if __name__ == "__main__":
    sys.exit(main())
