import json
from dataclasses import replace

import numpy as np
import pytest
from geopy.distance import geodesic
from sklearn.metrics import accuracy_score

from tests.cases import random_cases
from utils.candidates import Candidate, Query
from utils.decoding import Decoder, fuse
from utils.evaluation.cases import Case
from utils.evaluation.rankers import ranker_picks
from utils.evaluation.report import build_report, calibration_error
from utils.evaluation.report_text import format_report

THRESHOLDS = (1, 25, 200, 750, 2500)


def test_queries_without_similarities_cost_no_ranker():
    cases = [*random_cases(3), *random_cases(2, seed=1, similarities=False)]
    picks = ranker_picks(cases, similarity_weight=0.5)
    assert picks["similarity"][3:].tolist() == [0, 0]
    assert (picks["model_fused"][3:] == picks["model"][3:]).all()
    report = build_report(cases, picks, prediction="similarity")
    assert report["without_similarity"] == 2
    assert "2 queries have no similarities: similarity is their first candidate" in format_report(report)
    assert build_report(cases[:3], {"oracle": picks["oracle"][:3]}, prediction="oracle")["without_similarity"] == 0


def test_queries_that_have_only_guesses_are_counted():
    cases = random_cases(4)
    for number in (1, 3):
        guesses = tuple(replace(candidate, source="generation") for candidate in cases[number].query.candidates)
        cases[number] = replace(cases[number], query=replace(cases[number].query, candidates=guesses))
    report = build_report(cases, ranker_picks(cases), prediction="model")
    assert report["only_guesses"] == 2
    assert "2 queries have no retrieved candidate: retrieval is their first guess" in format_report(report)


def test_confidence_of_a_fused_answer_is_that_of_fused_rewards():
    cases = random_cases(40)
    picks = ranker_picks(cases, temperature=0.5, similarity_weight=2.0)
    fused = [replace(case, rewards=fuse(case.rewards, case.similarities, 2.0)) for case in cases]
    settings = {"temperature": 0.5, "similarity_weight": 2.0}
    found = build_report(cases, picks, prediction="model_fused", **settings)["calibration_error"]
    assert found == calibration_error(fused, picks["model_fused"], Decoder(temperature=0.5))
    plain = build_report(cases, picks, prediction="model", **settings)["calibration_error"]
    assert plain == calibration_error(cases, picks["model"], Decoder(temperature=0.5))


def test_report_against_geopy_and_sklearn():
    cases = random_cases(60)
    picks = ranker_picks(cases, temperature=0.5, similarity_weight=0.7)
    report = build_report(cases, picks, prediction="model", temperature=0.5)
    json.dumps(report, allow_nan=False)
    within = {}
    for name, figures in report["rankers"].items():
        errors = []
        for case, pick in zip(cases, picks[name], strict=True):
            candidate = case.query.candidates[pick]
            truth = (case.query.latitude, case.query.longitude)
            errors.append(geodesic(truth, (candidate.latitude, candidate.longitude)).km)
        within[name] = {t: 100 * accuracy_score([True] * 60, [e < t for e in errors]) for t in THRESHOLDS}
        assert figures["accuracy"] == pytest.approx({str(t): value for t, value in within[name].items()})
        assert figures["median_km"] == pytest.approx(np.median(errors))
        assert figures["geoscore"] == pytest.approx(np.mean([5000 * np.exp(-e / 1492.7) for e in errors]))
        for key, (low, high) in figures["accuracy_ci95"].items():
            assert 0 <= low <= figures["accuracy"][key] <= high <= 100
    assert set(report["paired_differences"]) == {
        "model",
        "model_consensus",
        "model_fused",
        "model_fused_consensus",
    }
    for model, baselines in report["paired_differences"].items():
        assert set(baselines) == {"retrieval", "consensus", "consensus_equal", "similarity"}
        for baseline, figures in baselines.items():
            for t in THRESHOLDS:
                assert figures["accuracy"][str(t)] == pytest.approx(within[model][t] - within[baseline][t])
                low, high = figures["accuracy_ci95"][str(t)]
                assert low <= figures["accuracy"][str(t)] <= high
    for model, gap in report["gap_closed"].items():
        for t in THRESHOLDS:
            gained, possible = (within[name][t] - within["retrieval"][t] for name in (model, "oracle"))
            assert gap[str(t)] == (pytest.approx(100 * gained / possible) if possible else None)


def test_without_a_model_consensus_is_compared():
    """With what needs no fitting; not with itself."""
    cases = random_cases(60, rewards=False)
    picks = ranker_picks(cases)
    report = build_report(cases, picks, prediction="retrieval")
    assert set(report["gap_closed"]) == {"consensus"}
    (compared,) = report["paired_differences"].values()
    assert set(compared) == {"retrieval", "consensus_equal", "similarity"}
    within = {name: figures["accuracy"]["200"] for name, figures in report["rankers"].items()}
    for baseline, figures in compared.items():
        assert figures["accuracy"]["200"] == pytest.approx(within["consensus"] - within[baseline])
    assert "consensus - consensus_equal" in format_report(report)


def test_calibration_error_of_a_known_case():
    """Two candidates 111 km apart share a region, a third is far away: confidence is the region's mass."""
    candidates = (Candidate(0.0, 0.0), Candidate(1.0, 0.0), Candidate(40.0, 0.0))
    rewards = np.log([0.5, 0.3, 0.2])
    right = Case(Query("a", candidates, (), 0.5, 0.0), rewards)
    wrong = Case(Query("b", candidates, (), 60.0, 0.0), rewards)
    assert calibration_error([right], np.array([0]), Decoder()) == pytest.approx(0.2)
    assert calibration_error([right, wrong], np.array([0, 0]), Decoder()) == pytest.approx(0.8 - 0.5)
    only = Case(Query("c", candidates[:1], (), 0.0, 0.0), rewards[:1])
    assert calibration_error([only], np.array([0]), Decoder()) == pytest.approx(0)


def test_density_and_training_distance():
    """Truths on the equator, 0.1 and 1 degree (11.1 and 111 km) from the only gallery and training photo."""
    cases = [Case(Query(str(lon), (Candidate(0.0, lon),), (), 0.0, lon)) for lon in (0.1, 1.0)]
    picks = ranker_picks(cases)
    report = build_report(cases, picks, prediction="retrieval", gallery=[(0, 0)], training=[(0, 0)])
    assert report["gallery_density"] == {"25": 50.0, "200": 100.0}
    bins = report["training_distance"]
    assert [(row["from_km"], row["to_km"], row["num_queries"]) for row in bins] == [
        (10, 25, 1),
        (100, None, 1),
    ]
    assert bins[0]["accuracy"]["oracle"]["1"] == 100
    json.dumps(report, allow_nan=False)


def test_no_case_is_an_error():
    with pytest.raises(ValueError, match="no query"):
        build_report([], {"retrieval": np.array([], dtype=int)}, prediction="retrieval")
