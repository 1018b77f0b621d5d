"""What the ablation queue found, as a Markdown table.

    python -m earth.studies.ablation_table
    python -m earth.studies.ablation_table --results docs/earth/size_8m.jsonl --against docs/earth/size_3m.jsonl

Accuracies are those of the candidate with the highest reward, means over seeds, in brackets the lowest and highest
of several seeds. A difference is that to the baseline on the same queries and seeds; its 95% interval is a bootstrap
over queries, so it says what other queries would change, not what other seeds would: the brackets do. ``agrees`` and
``disagrees`` mean that this interval lies on the side of zero where the paper's difference is, or on the other one.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from earth.studies.ablation_results import RESULTS, WITHIN_KM, Result, paired_difference, read_results
from earth.studies.ablation_runs import SETTINGS, Setting
from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import check_files
from utils.evaluation.metrics import accuracy


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.studies.ablation_table")
    add = parser.add_argument
    add("--results", default=RESULTS, help="results file of the queue (%(default)s)")
    add(
        "--against",
        metavar="RESULTS",
        help="results file of another base model: differences to the same settings and seeds there",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: show(args), quiet=args.quiet)


def show(args: argparse.Namespace) -> list[str]:
    """Print the table, or with ``--against`` the comparison."""
    check_files([("results", args.results), ("against", args.against)])
    results = read_results(args.results)
    print(comparison(results, read_results(args.against)) if args.against else table(results))
    return []


def verdict(paper: float, low: float, high: float) -> str:
    """Whether a difference with an interval goes the paper's way."""
    if low <= 0 <= high:
        return "not significant"
    return "agrees" if (low > 0) == (paper > 0) else "disagrees"


def table(results: Sequence[Result], settings: Sequence[Setting] = SETTINGS) -> str:
    """The results as Markdown, a row for every setting, the first being the baseline.

    The paper's columns are there where one of the settings has its figures. ``ValueError`` for results of another one.
    """
    if unknown := {result.setting for result in results} - {setting.name for setting in settings}:
        raise ValueError(f"results of unknown settings: {', '.join(sorted(unknown))}")
    first = settings[0]
    baseline = [result for result in results if result.setting == first.name]
    rows = [
        ["setting", "seeds", *(f"{km} km" for km in WITHIN_KM)]
        + [f"difference at {km} km" for km in WITHIN_KM]
        + ["paper's difference", "Earth and paper"],
        ["---"] * 8,
    ]
    for setting in settings:
        own = [result for result in results if result.setting == setting.name]
        difference = paired_difference(own, baseline) if setting != first else None
        cells = [setting.name, str(len(own)), *_accuracies(own), *_differences(difference)]
        cells.append(" / ".join(f"{gain:+.2f}" for gain in setting.paper or ()))
        judged = setting.paper and difference
        cells.append(" / ".join(map(verdict, setting.paper, *difference[1:])) if judged else "")
        rows.append(cells)
    columns = 8 if any(setting.paper for setting in settings) else 6
    return _markdown([cells[:columns] for cells in rows])


def comparison(results: Sequence[Result], others: Sequence[Result]) -> str:
    """What another base model changes: settings that both have, under the same seeds, as Markdown.

    Raises ``ValueError`` for results that differ in more than the base model, or that share no setting and seed.
    """
    if len({(result.recipe, result.budget) for result in (*results, *others)}) > 1:
        raise ValueError("the two files differ in more than the base model: in training steps, recipe or data")
    rows = [
        ["setting", "seeds"]
        + [f"{km} km{of}" for of in ("", ", the other") for km in WITHIN_KM]
        + [f"difference at {km} km" for km in WITHIN_KM],
        ["---"] * 8,
    ]
    for setting in SETTINGS:
        seeds = [{r.seed: r for r in side if r.setting == setting.name} for side in (results, others)]
        own, other = ([side[seed] for seed in sorted(seeds[0].keys() & seeds[1].keys())] for side in seeds)
        if own:
            accuracies = *_accuracies(own), *_accuracies(other)
            rows.append([setting.name, str(len(own)), *accuracies, *_differences(paired_difference(own, other))])
    if len(rows) == 2:
        raise ValueError("the two files have no setting with the same seed in common")
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _differences(difference: tuple[np.ndarray, np.ndarray, np.ndarray] | None) -> list[str]:
    """A cell for each threshold."""
    if difference is None:
        return [""] * len(WITHIN_KM)
    return [f"{gain:+.1f} [{low:+.1f}, {high:+.1f}]" for gain, low, high in zip(*difference, strict=True)]


def _accuracies(results: Sequence[Result]) -> list[str]:
    """A cell for each threshold."""
    if not results:
        return ["not run"] * len(WITHIN_KM)
    seeds = np.array([accuracy(result.errors_km, WITHIN_KM) for result in results])
    if len(results) == 1:
        return [f"{own[0]:.1f}" for own in seeds.T]
    return [f"{own.mean():.1f} ({own.min():.1f} to {own.max():.1f})" for own in seeds.T]


if __name__ == "__main__":
    sys.exit(main())
