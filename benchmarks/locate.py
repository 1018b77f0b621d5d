"""How long a photo's place takes, in a new process and in one that has its models loaded; and the memory.

    python -m benchmarks.locate --output outputs/locate.json

Photos of earth are test tiles, the others synthetic JPEGs of 1024x768. Each row is a choice of candidates and of who
decides, as `quick_start.py` and `utils.locator.Locator` take them:

    cold      a new process: interpreter, imports, loading, and the first photo's answer
    warm      each further photo of the same Locator
    command   `quick_start.py --image PHOTO`, its picture and files written
    once      by how much the very first process, which fills caches, takes longer than cold

Seconds are those of the clock, or with `--clock processor` of all threads together, which says something on a busy
machine, too. Figures are medians of --repeats processes each. Cases that --only leaves out keep their rows in --output.
CLIP has random weights of ViT-L/14's shape, unless --clip names one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.flags import add_output
from benchmarks.presets import EARTH, EARTH_ADAPTER, GALLERY_PHOTOS, TEST_PHOTOS, check, check_shipped
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.outputs import check_outputs
from utils.jobs.reading import read_json_object

CASES = ("ranker, gallery, guesses", "ranker, gallery", "guesses", "geoclip")
NEEDED = (Path(EARTH_ADAPTER), Path(EARTH.gallery_index), GALLERY_PHOTOS, TEST_PHOTOS)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.locate")
    add = parser.add_argument
    add("--only", nargs="+", choices=CASES, metavar="CASE", default=CASES, help=f"of {', '.join(map(repr, CASES))}")
    add("--clip", help="hub name or folder of a CLIP ViT-L/14")
    add("--clock", choices=("wall", "processor"), default="wall", help="of what seconds are (%(default)s)")
    add("--repeats", type=at_least(1), default=3, help="processes of each case (%(default)s)")
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_locating(args), quiet=args.quiet)


def measure_locating(args: argparse.Namespace) -> list[str]:
    """Print the table and write the figures."""
    check_shipped()
    check(NEEDED if set(args.only) - {"geoclip"} else ())
    check_outputs([("--output", args.output)])
    from benchmarks.measure import write
    from benchmarks.tables import locate_table
    from benchmarks.work.locate import measured

    found = read_json_object(args.output)["rows"] if args.output is not None and args.output.exists() else []
    rows = {row["case"]: row for row in [*found, *measured(args.only, args.clip, args.repeats, args.clock)]}
    found = [rows[case] for case in CASES if case in rows]
    print(locate_table(found))
    write(args.output, {"rows": found})
    return []


if __name__ == "__main__":
    sys.exit(main())
