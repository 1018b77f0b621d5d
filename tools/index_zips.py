"""Index zips of photos beforehand, so that no script has to do it when it first opens them.

    python -m tools.index_zips dataset/osv5m/images/train      one index for all zips of the folder
    python -m tools.index_zips photos.zip                      that of a single zip

The index of a folder is ``zips.index`` in it, that of ``X.zip`` is ``X.zip.index``. It is made of the directories of
the zips, and made again when one of them has changed. What it leaves out is counted and named: encrypted members,
symbolic links, names that lead out of a folder, members larger than any photo or overlapping others, damaged entries,
and members whose id comes again. A zip whose directory cannot be read is named as a problem, and the exit code is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import check_files
from utils.photos.zip_index import open_zip_index, zips_of


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.index_zips")
    parser.add_argument("zips", nargs="+", type=Path, metavar="ZIP", help="zip of photos, or a folder of zips")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: index_all(args.zips), quiet=args.quiet)


def index_all(paths: Sequence[Path]) -> list[str]:
    """Make the index of each. Returns the zips that could not be read."""
    check_files((None, path) for path in paths)
    problems = []
    for path in paths:
        if not zips_of(path):
            raise FileNotFoundError(f"{path} has no .zip in it")
        index = open_zip_index(path)
        print(f"{index.path}: {len(index):,} photos")
        if left_out := index.left_out():
            print(f"Left out: {len(left_out):,} members", *left_out, sep="\n  ")
        problems += index.problems
    return problems


if __name__ == "__main__":
    sys.exit(main())
