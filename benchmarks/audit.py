"""Does the audit find what leaks? Leaks planted among Earth's test queries, and recall and precision of each kind.

    python -m benchmarks.audit --seed 1

plants 200 leaks of each kind beside the 1,000 test queries, which are clean: equal ids, shared owners, placeholders,
and tiles of the gallery re-encoded (JPEG quality 50 to 90), resized (50 to 200%), cropped (up to 10% of either side),
of other brightness (up to 10%), or all four. A row of "its own tile" counts a leak as found only where the very tile is
named, not one that overlaps it. --sweep prints the same for higher thresholds of likeness.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.flags import add_output
from benchmarks.presets import EARTH, GALLERY_PHOTOS, TEST_PHOTOS, check
from utils.auditing.thresholds import LIKENESS
from utils.cli.command import run_command
from utils.cli.flags import add_workers, at_least, probability, script_parser
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.audit")
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of what is planted (%(default)s)")
    add("--planted", type=at_least(1), default=200, help="leaks of each kind (%(default)s)")
    add("--index", type=Path, help="index folder of the gallery: embeddings are compared, too")
    add("--likeness", type=probability, default=LIKENESS, help="of tools.audit_benchmark (%(default)s)")
    add("--sweep", action="store_true", help="higher thresholds, too")
    add("--hashes", type=Path, default=Path("outputs/audit/hashes"), help="folder for hashes (%(default)s)")
    add_workers(add, default=2)
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_audit(args), quiet=args.quiet)


def measure_audit(args: argparse.Namespace) -> list[str]:
    """Print and write how many of the planted leaks are found."""
    check([Path(EARTH.gallery_metadata), GALLERY_PHOTOS, TEST_PHOTOS, Path("dataset/earth/train/images")])
    check_outputs([("--output", args.output)], [("--hashes", args.hashes)])
    from benchmarks.work.audit import measure

    return measure(args)


if __name__ == "__main__":
    sys.exit(main())
