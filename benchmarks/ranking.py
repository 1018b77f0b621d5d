"""The model's work of ranking candidates: ours against the published way, on the same inputs in one process.

    python -m benchmarks.ranking --layout negatives_first
    python -m benchmarks.ranking --preset 7b --photo 500x375 --output outputs/ranking.json
    python -m benchmarks.ranking --preset 7b --flops_only

Photos are decoded and prompts tokenized before (benchmarks/pipeline.py measures that too): encoded photos and tokens
go in, rewards come out. benchmarks/naive.py says what the published way is.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.flags import parse
from benchmarks.presets import check_shipped
from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.ranking")
    add = parser.add_argument
    add("--flops_only", action="store_true", help="count operations and measure nothing: needs no GPU for 7b")
    return parse(parser, arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_both(args), quiet=args.quiet)


def measure_both(args: argparse.Namespace) -> list[str]:
    """Measure both sides, or with ``--flops_only`` count, print the table and write the figures."""
    check_shipped()
    check_outputs([("--output", args.output)])
    from benchmarks import measure
    from benchmarks.common import place, title
    from benchmarks.work.ranking import run

    place(args)
    results = run(args)
    measure.print_table(f"Ranking: {title(args)}", "query", results)
    measure.write(args.output, results)
    return []


if __name__ == "__main__":
    sys.exit(main())
