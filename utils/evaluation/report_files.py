"""The files of a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.predictions import predictions_table
from utils.evaluation.stated import Stated
from utils.figures.error_curve import error_curve
from utils.figures.reliability import reliability_figure
from utils.figures.style import save
from utils.jobs.files import atomic_path, write_json


def write_evaluation(
    folder: Path,
    report: Mapping[str, Any],
    cases: Sequence[Case],
    picks: Mapping[str, np.ndarray],
    stated: Stated | None,
) -> list[str]:
    """Write metrics.json, predictions.csv, error_curve.png and, where confidence was stated, reliability.png.

    ``report`` is that of ``build_report``, with all that metrics.json is to say; ``picks`` are of ``ranker_picks``.
    Returns the names of the files.
    """
    write_json(folder / "metrics.json", report)
    with atomic_path(folder / "predictions.csv") as path:
        predictions_table(cases, picks, report["prediction"]).to_csv(path, index=False)
    first = report["prediction"]
    order = [first, *(name for name in picks if name != first)]
    save(error_curve({name: picked_errors(cases, picks[name]) for name in order}), folder / "error_curve.png")
    files = ["metrics.json", "predictions.csv", "error_curve.png"]
    if stated is None:
        return files
    save(reliability_figure(stated.reliability(), stated.coverage()), folder / "reliability.png")
    return [*files, "reliability.png"]
