"""From photo files to rewards: ours against the published loop, on the same files in one process.

    python -m benchmarks.pipeline --layout negatives_first --queries 50
    python -m benchmarks.pipeline --preset 7b --output outputs/pipeline.json

Ours is utils/evaluation/scoring.py, as evaluate.py runs it: workers decode ahead, a query's photos once each, several
small queries in one pass. The published loop (benchmarks/naive.py) takes one query after the other and opens the query
photo for every candidate. The files lie in the system's cache: they were written, or read by the warm-up, just before.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.flags import parse
from benchmarks.presets import check_shipped
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.pipeline")
    parser.add_argument(
        "--num_workers", type=at_least(0), help="processes that read photos ahead for ours; default: 4, on a CPU 0"
    )
    return parse(parser, arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_both(args), quiet=args.quiet)


def measure_both(args: argparse.Namespace) -> list[str]:
    """Measure both sides, print the table and write the figures."""
    check_shipped()
    check_outputs([("--output", args.output)])
    from benchmarks import measure
    from benchmarks.common import place, title
    from benchmarks.work.pipeline import run

    place(args)
    results = run(args)
    measure.print_table(f"Files to rewards: {title(args)}", "query", results)
    measure.write(args.output, results)
    return []


if __name__ == "__main__":
    sys.exit(main())
