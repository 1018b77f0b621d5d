"""Keep an evaluation's figures with the documents that cite them.

    python -m tools.store_result outputs/evaluate/earth docs/results/earth-test.json \\
        --command "python evaluate.py --dataset earth --topn 12 --topn_zs 3" \\
        --machine "2 cores of a shared AMD EPYC machine, CPU only"

The file holds the command, the machine, the day (UTC) on which metrics.json was written, and metrics.json itself.
tests/test_figures.py says how a document names the file, and compares every figure with it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import check_files
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.store_result")
    add = parser.add_argument
    add("evaluated", type=Path, help="--output_dir of evaluate.py")
    add("output", type=Path, help="JSON file to write")
    add("--command", required=True, help="the command that was run, as documents show it")
    add("--machine", required=True, help="where it was run, as documents say it")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: store(args), quiet=args.quiet)


def store(args: argparse.Namespace) -> list[str]:
    """Write the file. Returns no problems: what is wrong is an error, and so are problems of the evaluation."""
    source = args.evaluated / "metrics.json"
    check_files([(None, source)])
    check_outputs([("output", args.output)])
    metrics = json.loads(source.read_text(encoding="utf-8"))
    if metrics["problems"]:
        raise ValueError(f"{source}: {len(metrics['problems'])} problems: mend them and evaluate again")
    day = datetime.fromtimestamp(source.stat().st_mtime, UTC).date().isoformat()
    write_json(args.output, {"command": args.command, "machine": args.machine, "date": day, "metrics": metrics})
    print(f"{args.output}: {args.command}, {day}")
    return []


if __name__ == "__main__":
    sys.exit(main())
