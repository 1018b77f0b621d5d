"""What the ablation queue found: its results file, and the Markdown table made of it.

    python -m earth.studies.ablation_table
    python -m earth.studies.ablation_table --results docs/earth/size_8m.jsonl --against docs/earth/size_3m.jsonl

Accuracies are those of the candidate with the highest reward, means over seeds, in brackets the lowest and highest
of several seeds. A difference is that to the baseline on the same queries and seeds; its 95% interval is a bootstrap
over queries, so it says what other queries would change, not what other seeds would: the brackets do. ``agrees`` and
``disagrees`` mean that this interval lies on the side of zero where the paper's difference is, or on the other one.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from earth.studies.ablation_runs import BASELINE, SETTINGS, Setting
from utils.cli.command import run_command
from utils.evaluation.metrics import accuracy, bootstrap_ci
from utils.jobs.json_lines import JsonLines, read_json_lines

RESULTS = "docs/earth/ablations.jsonl"
WITHIN_KM = (25, 200)


@dataclass(frozen=True)
class Result:
    """One finished run, one line of the results file. Accuracies in percent, thresholds in km as text."""

    setting: str
    question: str
    seed: int
    base: str  # start of the SHA-256 of the base model's weights
    recipe: str  # start of the SHA-256 of what all trainings have in common and of the data
    budget: int  # training steps of 16 groups
    changes: dict[str, str | int]  # what differs from the baseline
    date: str
    seconds: dict[str, float | None]  # training (None: the adapter was there), evaluation (what was left of it)
    temperature: float  # fitted on the validation queries
    calibration_error: float
    validation: dict[str, dict]  # ranker (utils/evaluation/report.py) -> accuracy, accuracy_ci95 by threshold
    test: dict[str, dict]
    errors_km: list[int]  # of the ranker's pick, by test query, rounded down: accuracies stay exact

    @property
    def kind(self) -> tuple[str, str, int]:
        """What results have to share to be compared."""
        return self.base, self.recipe, self.budget


def read_results(path: str | Path) -> list[Result]:
    """The lines of a results file, none where there is no file.

    Raises ``ValueError``, naming file and line, for a record that is no result and for results that cannot be compared.
    """
    if not Path(path).exists():
        return []
    results = []
    for offset, record in read_json_lines(path):
        try:
            results.append(Result(**record))
        except TypeError as error:
            number = Path(path).read_bytes()[:offset].count(b"\n") + 1
            raise ValueError(f"{path}: line {number} is no result of the queue ({error}): remove it") from error
    check_comparable(path, {result.kind for result in results})
    counts = Counter((result.setting, result.seed) for result in results)
    if repeated := [f"{setting}, seed {seed}" for (setting, seed), count in counts.items() if count > 1]:
        raise ValueError(f"{path} has several lines of {'; '.join(repeated)}: remove all but one of each")
    return results


def check_comparable(path: str | Path, kinds: set[tuple[str, str, int]]) -> None:
    """Raise ``ValueError`` unless all results of ``path`` are of one kind."""
    if len(kinds) > 1:
        listed = " and ".join(f"base {base}, recipe {recipe}, {budget} steps" for base, recipe, budget in sorted(kinds))
        raise ValueError(f"{path} would mix runs that cannot be compared: {listed}; use another --results")


def append_result(path: str | Path, result: Result) -> None:
    """Add a line. The file is locked for that long only, so that several queues may add to it."""
    with JsonLines(path, wait=True) as log:
        log.add(asdict(result))


def paired_difference(
    first: Sequence[Result], second: Sequence[Result]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Accuracy of ``first`` minus that of ``second`` with its interval: (difference, low, high), each (thresholds,).

    A pair is one query under one seed; seeds that only one of them has are left out, None where all are. The
    bootstrap draws queries, each with all its seeds.
    """
    errors = [{result.seed: result.errors_km for result in results} for results in (first, second)]
    seeds = sorted(errors[0].keys() & errors[1].keys())
    if not seeds:
        return None
    hits = [
        100.0 * (np.array([own[seed] for seed in seeds])[..., None] < np.array(WITHIN_KM)) for own in errors
    ]  # (seeds, queries, thresholds)
    gains = (hits[0] - hits[1]).mean(axis=0)
    return gains.mean(axis=0), *bootstrap_ci(gains, lambda drawn: drawn.mean(axis=0))


def verdict(paper: float, low: float, high: float) -> str:
    """Whether a difference with an interval goes the paper's way."""
    if low <= 0 <= high:
        return "not significant"
    return "agrees" if (low > 0) == (paper > 0) else "disagrees"


def table(results: Sequence[Result], settings: Sequence[Setting] = SETTINGS) -> str:
    """The results as Markdown, a row for every setting; ``ValueError`` for results of another one."""
    if unknown := {result.setting for result in results} - {setting.name for setting in settings}:
        raise ValueError(f"results of unknown settings: {', '.join(sorted(unknown))}")
    baseline = [result for result in results if result.setting == BASELINE.name]
    rows = [
        ["setting", "seeds", *(f"{km} km" for km in WITHIN_KM)]
        + [f"difference at {km} km" for km in WITHIN_KM]
        + ["paper's difference", "Earth and paper"],
        ["---"] * 8,
    ]
    for setting in settings:
        own = [result for result in results if result.setting == setting.name]
        difference = paired_difference(own, baseline) if setting != BASELINE else None
        cells = [setting.name, str(len(own)), *_accuracies(own), *_differences(difference)]
        cells.append(" / ".join(f"{gain:+.2f}" for gain in setting.paper or ()))
        judged = setting.paper and difference
        cells.append(" / ".join(map(verdict, setting.paper, *difference[1:])) if judged else "")
        rows.append(cells)
    return _markdown(rows)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=RESULTS, help="results file of the queue (%(default)s)")
    parser.add_argument(
        "--against",
        metavar="RESULTS",
        help="results file of another base model: differences to the same settings and seeds there",
    )
    args = parser.parse_args()

    def show() -> list[str]:
        results = read_results(args.results)
        print(comparison(results, read_results(args.against)) if args.against else table(results))
        return []

    return run_command(show)


if __name__ == "__main__":
    raise SystemExit(main())
