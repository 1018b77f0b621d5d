"""The paper's questions, answered on Earth: a queue of short trainings with equal budget, and their evaluation.

    python -m earth.studies.ablations              # all settings of ablation_runs.py, three seeds, most telling first
    python -m earth.studies.ablations --list       # what is done, and what is not
    python -m earth.studies.ablations --only baseline no_images --seeds 0
    python -m earth.studies.ablation_table         # the results as a table

A run trains an adapter (finetune_geo_ranker.py), fits its temperature on the validation queries, and reports on the
test queries (evaluate.py); it adds one line to the results file, and is skipped where that has its line. Settings that
differ in evaluation only share the baseline's adapters. The same command goes on after an interruption: a training that
was under way starts anew, an evaluation at its next query. Several of these commands may work on one queue: each takes
runs that no other has. A run that fails is reported with its log, and the next one starts.

Adapters, logs and the tower's features of all photos, which are computed once, go into --run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from earth.recipe import BASE, DEFAULT_DIR
from earth.studies.ablation_queue import Queue, summary, work
from earth.studies.ablation_results import RESULTS, Result, read_results
from earth.studies.ablation_runs import SETTINGS, Setting
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.studies.ablations")
    add = parser.add_argument
    names = [setting.name for setting in SETTINGS]
    add("--only", nargs="+", choices=names, default=names, metavar="NAME", help="these settings; see --list")
    add("--seeds", type=at_least(0), nargs="+", default=[0, 1, 2], help="(0 1 2)")
    add("--list", action="store_true", help="print what is done and what is not, and do nothing")
    add("--steps", type=at_least(1), default=250, help="training steps of 16 groups that every run has (%(default)s)")
    add("--data", type=Path, default=DEFAULT_DIR, help="the built benchmark (%(default)s)")
    add("--model_path", type=Path, default=BASE, help="base model (%(default)s)")
    add("--results", type=Path, default=Path(RESULTS), help="one line a run (%(default)s)")
    add("--run", type=Path, default=Path("runs/ablations"), help="adapters, logs and features (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: start(args), quiet=args.quiet)


def start(args: argparse.Namespace) -> list[str]:
    """Do the runs that have no line yet, or list them all. Returns what failed."""
    runs = [(setting, seed) for setting in SETTINGS if setting.name in args.only for seed in args.seeds]
    if args.list:
        print_list(runs, read_results(args.results))
        return []
    return work(Queue(args.data, args.model_path, args.run, args.steps), runs, args.results)


def print_list(runs: Sequence[tuple[Setting, int]], results: Sequence[Result]) -> None:
    done = {(result.setting, result.seed): summary(result) for result in results}
    width = max(len(setting.name) for setting, _ in runs)
    for setting, seed in runs:
        print(f"{setting.name:{width}}  seed {seed}  {done.get((setting.name, seed), 'not run')}")


if __name__ == "__main__":
    sys.exit(main())
