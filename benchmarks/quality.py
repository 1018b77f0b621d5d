"""Is quality untouched? Earth's test queries, ranked by ours and by the published way, in float32 and in bfloat16.

    python -m benchmarks.quality --output outputs/quality.json

Prints accuracy in % within 25 to 2500 km of each, and how far their rewards agree. Both sides have the same weights,
the adapter merged into them, and the same photos; the layout is that of the shipped adapter. What rounding to bfloat16
changes by itself shows between the rows of one side.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.flags import add_output
from benchmarks.presets import EARTH_ADAPTER, EARTH_BASE, GALLERY_PHOTOS, TEST_CANDIDATES, TEST_PHOTOS, check
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.outputs import check_outputs

NEEDED = (Path(EARTH_BASE), Path(EARTH_ADAPTER), TEST_CANDIDATES, TEST_PHOTOS, GALLERY_PHOTOS)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.quality")
    add = parser.add_argument
    add("--queries", type=at_least(1), default=1000, help="of Earth's test split (%(default)s)")
    add("--device", default="cpu", help="of the model (%(default)s)")
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_quality(args), quiet=args.quiet)


def measure_quality(args: argparse.Namespace) -> list[str]:
    """Print and write the accuracy of both sides, and how far they agree."""
    check(NEEDED)
    check_outputs([("--output", args.output)])
    from benchmarks.work.quality import compare

    return compare(args)


if __name__ == "__main__":
    sys.exit(main())
