"""A training step of the LoRA on a group: ours against the published way, on the same groups in one process.

    python -m benchmarks.training --layout negatives_first
    python -m benchmarks.training --preset 7b --photo 500x375 --output outputs/training.json
    python -m benchmarks.training --preset 7b --photo 500x375 --gradient_checkpointing
    python -m benchmarks.training --preset 7b --flops_only

A step is forward, multi-order loss, backward and AdamW on one query with its candidates, 7 by default. The published
way reads as many whole prompts in one batch (benchmarks/naive.py). Photos are decoded before.
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
    parser = script_parser(__doc__, "benchmarks.training")
    add = parser.add_argument
    add("--flops_only", action="store_true", help="count operations and measure nothing: needs no GPU for 7b")
    add("--gradient_checkpointing", action="store_true", help="on both sides; ours then takes packed rows")
    return parse(parser, arguments, candidates=7, generated=0)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_both(args), quiet=args.quiet)


def measure_both(args: argparse.Namespace) -> list[str]:
    """Measure both sides, or with ``--flops_only`` count, print the table and write the figures."""
    check_shipped()
    check_outputs([("--output", args.output)])
    from benchmarks import measure
    from benchmarks.common import place, title
    from benchmarks.work.training import run

    place(args)
    results = run(args)
    suffix = ", gradient checkpointing" if args.gradient_checkpointing else ""
    measure.print_table(f"Training step: {title(args)}{suffix}", "group", results)
    measure.write(args.output, results)
    return []


if __name__ == "__main__":
    sys.exit(main())
