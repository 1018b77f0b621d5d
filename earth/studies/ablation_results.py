"""What the ablation queue found: its results file, and how two settings compare."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.evaluation.metrics import bootstrap_ci
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
    return gains.mean(axis=0), *bootstrap_ci(gains, lambda drawn: drawn.mean(axis=1))
