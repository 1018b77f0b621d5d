"""Index tars of photos beforehand, so that no script has to do it when it first opens them.

    python -m tools.index_tar dataset/mp16-pro/mp-16-images.tar      one pass over the tar; goes on when interrupted
    python -m tools.index_tar shards/*.tar                           an index for each
    python -m tools.index_tar images.tar --pickle tar_index.pkl      from the released pickle, without the pass

The index of ``X.tar`` is ``X.tar.index`` beside it, that of a pickle ``tar_index.pkl.index`` beside the pickle. What it
leaves out is counted and named: sparse members, symbolic links, hard links to what it has not, and members whose id
comes again. Where a damaged tar cannot be read on, that is named as a problem, and the exit code is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs
from utils.photos.tar_index import TarIndex
from utils.photos.tar_index_build import index_pickle, index_tar


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.index_tar")
    add = parser.add_argument
    add("tars", nargs="+", type=Path, metavar="TAR", help="uncompressed tar of photos")
    add("--pickle", type=Path, help="released index of the tar: convert it instead of reading the tar")
    add("--strip", type=at_least(0), default=0, help="leave out so many leading folders of member names (%(default)s)")
    add("--output", type=Path, help="where the index goes (default: TAR.index, or PICKLE.index)")
    args = parser.parse_args(arguments)
    if len(args.tars) > 1 and (args.pickle or args.output):
        parser.error("--pickle and --output are for one tar")
    if args.strip and args.pickle:
        parser.error("--strip is a number of folders, for member names read from the tar")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: index_tars(args), quiet=args.quiet)


def index_tars(args: argparse.Namespace) -> list[str]:
    """Make the index of each tar. Returns where a damaged one could not be read on."""
    check_files([*((None, tar) for tar in args.tars), ("pickle", args.pickle)])
    indexes = [args.output or Path(f"{args.pickle or tar}.index") for tar in args.tars]
    check_outputs([("--output", path) for path in indexes])
    problems = []
    for tar, path in zip(args.tars, indexes, strict=True):
        if args.pickle:
            index_pickle(args.pickle, tar, path)
        else:
            problems += index_tar(tar, path, args.strip)
        index = TarIndex(path)
        print(f"{path}: {len(index):,} photos")
        if left_out := index.left_out():
            print(f"Left out: {len(left_out):,} members", *left_out, sep="\n  ")
    return problems


if __name__ == "__main__":
    sys.exit(main())
