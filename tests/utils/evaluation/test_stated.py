"""What was stated, against scikit-learn and plain counting."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from tests.cases import random_cases
from utils.calibration import LEVELS, Sources
from utils.decider import Decider
from utils.decoding import METHODS
from utils.evaluation.fit_calibration import fit_methods
from utils.evaluation.metrics import expected_calibration_error
from utils.evaluation.rankers import ranker_picks
from utils.evaluation.report import build_report
from utils.evaluation.report_text import format_report
from utils.evaluation.stated import Stated, stated_of
from utils.geography.geodesy import THRESHOLDS_KM

FITTED = {"temperature": 0.5, "similarity_weight": 0.7}
SOURCES = Sources(12, 3, 0.0, None)


@pytest.fixture(scope="module")
def cases():
    return random_cases(240)


@pytest.fixture(scope="module")
def calibrations(cases):
    return fit_methods(cases, SOURCES, **FITTED)


def test_every_way_of_deciding_is_calibrated(cases, calibrations):
    assert calibrations.methods.keys() == METHODS.keys()
    assert fit_methods(cases[:50], SOURCES, **FITTED) is None


@pytest.mark.parametrize("method", METHODS)
def test_figures_against_sklearn_and_counting(cases, calibrations, method):
    decoder, ranker = METHODS[method].decoder(**FITTED), METHODS[method].ranker
    picks = ranker_picks(cases, **FITTED)[ranker]
    stated = Stated.of(cases, picks, decoder, calibrations.methods[method])
    figures = stated.report()
    errors = np.array([case.distances[pick] for case, pick in zip(cases, picks, strict=True)])
    for number, radius in enumerate(THRESHOLDS_KM):
        near, chances = errors < radius, stated.chances[:, number]
        assert figures["brier"][str(radius)] == pytest.approx(brier_score_loss(near, chances, labels=[0, 1]))
        base = np.full(len(near), near.mean())
        assert figures["brier_base"][str(radius)] == pytest.approx(brier_score_loss(near, base, labels=[0, 1]))
        assert figures["calibration_errors"][str(radius)] == expected_calibration_error(chances, near)
        assert figures["selective"]["100"][str(radius)] == pytest.approx(100 * near.mean())
        surest = sorted(range(len(near)), key=lambda i: -chances[i])[: len(near) // 2]
        assert figures["selective"]["50"][str(radius)] == pytest.approx(100 * near[surest].mean())
    held = [figures["regions"][str(level)]["coverage"] for level in LEVELS]
    assert held == sorted(held)
    # So few queries, and those that it was fitted on: test_fit_calibration.py has others.
    assert all(abs(share - level) < 15 for share, level in zip(held, LEVELS, strict=True))


def test_the_report_has_them_where_there_is_a_calibration(cases, calibrations):
    picks = ranker_picks(cases, **FITTED)
    fitted, decoder = calibrations.methods["consensus"], METHODS["consensus"].decoder(**FITTED)
    stated = Stated.of(cases, picks["model_consensus"], decoder, fitted)
    report = build_report(cases, picks, prediction="model_consensus", stated=stated, **FITTED)
    assert {"calibration_errors", "brier", "brier_base", "regions", "selective", "calibration_error"} <= report.keys()
    text = format_report(report)
    assert "What was stated of the answers:" in text
    held, radius = (report["regions"]["90"][name] for name in ("coverage", "median_radius_km"))
    for line in (
        f"{'calibration error':34}" + "".join(f"{error:>9.3f}" for error in report["calibration_errors"].values()),
        f"Regions of 90% held {held:.1f}% of the truths; half of them are no larger than "
        f"a disc of {radius:.0f} km radius.",
    ):
        assert line in text.splitlines()
    plain = build_report(cases, picks, prediction="model_consensus", **FITTED)
    assert "regions" not in plain
    assert "What was stated" not in format_report(plain)


def test_nothing_is_stated_of_queries_with_other_numbers_of_candidates(cases, calibrations, caplog):
    """Of those that have such numbers everything is stated as it would be without the others."""
    decider = Decider("argmax", "model", METHODS["argmax"].decoder(**FITTED), calibrations)
    picks = ranker_picks(cases, **FITTED)["model"]
    whole = stated_of(decider, SOURCES, cases, picks)
    assert caplog.messages == []
    guessed = [case.counts[1] == 2 for case in cases]
    few = replace(decider, calibrations=replace(calibrations, counts=tuple((n, 2) for n in range(1, 7))))
    with caplog.at_level("INFO"):
        part = stated_of(few, SOURCES, cases, picks)
    assert 0 < sum(guessed) < len(cases)
    assert (part.chances == whole.chances[guessed]).all()
    assert f"no confidence is stated of {len(cases) - sum(guessed)} of {len(cases)} answers: " in caplog.text
    nobody = replace(decider, calibrations=replace(calibrations, counts=()))
    assert stated_of(nobody, SOURCES, cases, picks) is None
    assert stated_of(decider, replace(SOURCES, topn=5), cases, picks) is None
