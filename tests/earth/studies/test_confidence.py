import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earth.studies import confidence
from earth.studies.confidence import at_coverages, grids
from earth.studies.decoders import errors, goodness
from tests.evaluated import write_evaluation
from utils.decoding import Decoder
from utils.evaluation.cases import picked_errors
from utils.evaluation.fit import fit_temperature
from utils.evaluation.metrics import coverage_curve
from utils.evaluation.report import calibration_error


@pytest.fixture(scope="module")
def runs(tmp_path_factory, few_resamples):
    """A validation and a test run with their cases, and the result of studying them."""
    folder = tmp_path_factory.mktemp("runs")
    cases = [write_evaluation(folder / name, count, seed) for seed, (name, count) in enumerate(COUNTS.items())]
    flags = [part for name in COUNTS for part in (f"--{name}", str(folder / name))]
    assert confidence.main([*flags, "--output", str(folder / "docs" / "confidence.json")]) == 0
    return *cases, json.loads((folder / "docs" / "confidence.json").read_text())


COUNTS = {"val": 60, "test": 80}


def test_grids_are_fitted_on_validation(runs):
    cases = runs[0]
    tried = grids(cases)
    groups = [(case.rewards, case.distances) for case in cases]
    assert tried["argmax"][0].temperature == pytest.approx(fit_temperature(groups))
    assert {decoder.temperature for decoder in tried["consensus"]} == {tried["argmax"][0].temperature}
    assert all(decoder.scale_km is None for decoder in tried["fused"])
    assert len({decoder.similarity_weight for decoder in tried["fused"]}) == len(tried["fused"])


def test_result_is_what_its_decoders_are_worth_on_the_test_run(runs):
    validation, test, result = runs
    chosen = {name: Decoder(**fields) for name, fields in result["validation"]["chosen"].items()}
    assert result["test"]["num_queries"] == len(test) == 80
    assert result["validation"]["num_queries"] == 60
    for name, decoder in chosen.items():
        row = result["test"]["decoders"][name]
        distances = picked_errors(test, np.array([decoder.pick(case.evidence) for case in test]))
        assert row["accuracy"]["200"] == pytest.approx(100 * np.mean(distances < 200))
        difference = row["accuracy"]["25"] - result["test"]["decoders"]["argmax"]["accuracy"]["25"]
        assert row["minus_argmax"]["accuracy"]["25"] == pytest.approx(difference)
        assert result["validation"]["goodness"][name] == goodness(errors(decoder, validation))
        assert sum(row["reliability"]["count"]) == 80
        for km, covered in row["coverage"].items():
            assert len(covered["curve"]) == 100
            assert covered["curve"][-1] == pytest.approx(row["accuracy"][km], abs=0.006)
            assert covered["curve"][49] == pytest.approx(covered["accuracy"]["50"], abs=0.006)
            low, high = covered["accuracy_ci95"]["50"]
            assert low <= covered["accuracy"]["50"] <= high


def test_calibration_error_is_the_reports(runs):
    _, test, result = runs
    for name in ("argmax", "consensus"):
        decoder = Decoder(**result["validation"]["chosen"][name])
        picks = np.array([decoder.pick(case.evidence) for case in test])
        expected = calibration_error(test, picks, Decoder(temperature=decoder.temperature))
        assert result["test"]["decoders"][name]["calibration_error"] == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 100))
def test_coverage_answers_at_least_the_share_that_is_asked_for(answers, share):
    answers = np.array(answers, dtype=float)
    answered = next(k for k in range(1, len(answers) + 1) if 100 * k >= share * len(answers))
    assert at_coverages(answers, [share])[0] == coverage_curve(*answers.T)[answered - 1]


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"nowhere.metrics\.json"):
        confidence.main(["--val", str(tmp_path / "nowhere"), "--output", str(tmp_path / "result.json")])
    assert not (tmp_path / "result.json").exists()


def test_runs_of_different_adapters_are_refused(tmp_path):
    for name in COUNTS:
        write_evaluation(tmp_path / name, 5, seed=0)
    path = tmp_path / "val" / "metrics.json"
    path.write_text(path.read_text().replace('"adapter"', '"another"'))
    flags = [part for name in COUNTS for part in (f"--{name}", str(tmp_path / name))]
    with pytest.raises(SystemExit, match="--model_path was another in one, adapter in the other"):
        confidence.main([*flags, "--output", str(tmp_path / "result.json")])


def test_runs_that_share_queries_are_refused(tmp_path):
    write_evaluation(tmp_path / "test", 5, seed=0)
    flags = [part for name in COUNTS for part in (f"--{name}", str(tmp_path / "test"))]
    with pytest.raises(SystemExit, match=r"share 5 queries, such as q0-0\.jpg"):
        confidence.main([*flags, "--output", str(tmp_path / "result.json")])
