"""How small candidates' photos may be, answered on Earth: accuracy after equal training at 16, 9 and 4 tokens a tile.

    python -m earth.studies.candidate_pixels            # three adapters each, seed by seed, then the table
    python -m earth.studies.candidate_pixels --steps 125 --data /data/earth
    python -m benchmarks.ranking --layout negatives_first --candidate_max_pixels 2304     # the time that it saves

Runs, their results file and how they go on after an interruption are those of ``earth.studies.ablations``; all of one
seed come before the next seed, so that what is there can always be compared.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from earth.recipe import BASE, DEFAULT_DIR
from earth.studies.ablation_queue import Queue, work
from earth.studies.ablation_results import read_results
from earth.studies.ablation_runs import Setting
from earth.studies.ablation_table import table
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser

RESULTS = Path("docs/earth/candidate_pixels.jsonl")
QUESTION = "candidate resolution"
NO_GUESSES = {"generated": "0"}  # to ask for those of the training queries takes hours
# Tiles have 64 x 64 pixels, as queries' photos do; 48 x 48 and 32 x 32 are 9 and 4 tokens.
SETTINGS = (
    Setting("16_tokens", QUESTION, NO_GUESSES, topn_zs=0),
    Setting("9_tokens", QUESTION, NO_GUESSES | {"candidate_max_pixels": "2304"}, topn_zs=0),
    Setting("4_tokens", QUESTION, NO_GUESSES | {"candidate_max_pixels": "1024"}, topn_zs=0),
)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.studies.candidate_pixels")
    add = parser.add_argument
    add("--seeds", type=at_least(0), nargs="+", default=[0, 1, 2], help="(0 1 2)")
    add("--steps", type=at_least(1), default=250, help="training steps of 16 groups that every run has (%(default)s)")
    add("--data", type=Path, default=DEFAULT_DIR, help="the built benchmark (%(default)s)")
    add("--results", type=Path, default=RESULTS, help="one line a run (%(default)s)")
    add("--run", type=Path, default=Path("runs/candidate_pixels"), help="adapters, logs and features (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: study(args), quiet=args.quiet)


def study(args: argparse.Namespace) -> list[str]:
    """Do the runs that have no line yet, and print the table. Returns what failed."""
    runs = [(setting, seed) for seed in args.seeds for setting in SETTINGS]
    failed = work(Queue(args.data, BASE, args.run, args.steps), runs, args.results)
    print(table(read_results(args.results), SETTINGS))
    return failed


if __name__ == "__main__":
    sys.exit(main())
