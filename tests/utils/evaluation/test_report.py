import json
from dataclasses import replace

import numpy as np
import pytest
from geopy.distance import geodesic, great_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from utils.candidates import Candidate, Query
from utils.decoding import fuse
from utils.evaluation.report import (
    Case,
    build_report,
    calibration_error,
    format_report,
    nearest_km,
    picked_errors,
    predictions_table,
    ranker_picks,
)

THRESHOLDS = (1, 25, 200, 750, 2500)


def random_cases(count, seed=0, rewards=True, similarities=True):
    generator = np.random.default_rng(seed)
    cases = []
    for number in range(count):
        truth = generator.uniform([-60, -180], [60, 180])
        retrieved = int(generator.integers(1, 7))
        candidates = []
        for k in range(retrieved + int(generator.integers(0, 3))):
            point = np.clip(truth + generator.normal(0, 10 ** generator.uniform(-2, 1.3), 2), [-89, -180], [89, 180])
            candidates.append(
                Candidate(
                    *map(float, point),
                    source="retrieval" if k < retrieved else "generation",
                    similarity=float(generator.uniform(-1, 1)) if similarities and k < retrieved else None,
                )
            )
        query = Query(f"q{number}.jpg", tuple(candidates), (), *map(float, truth))
        cases.append(Case(query, generator.normal(size=len(candidates)) if rewards else None))
    return cases


def brute_force_values(case, temperature, weight):
    """What every deterministic ranker maximises, one candidate and one definition at a time."""
    points = [(c.latitude, c.longitude) for c in case.query.candidates]
    similarities = [c.similarity for c in case.query.candidates]
    known = [s for s in similarities if s is not None]

    def agreement(weights):
        pairs = list(zip(points, weights, strict=True))
        return [sum(w * np.exp(-great_circle(a, b).km / 200) for b, w in pairs) for a in points]

    def shares(scores):
        powers = [np.exp(s / temperature) for s in scores]
        return [power / sum(powers) for power in powers]

    fused = [
        reward + weight * (sum(known) / len(known) if s is None else s)
        for reward, s in zip(case.rewards, similarities, strict=True)
    ]
    truth = (case.query.latitude, case.query.longitude)
    return {
        "model": case.rewards,
        "model_consensus": agreement(shares(case.rewards)),
        "model_fused": fused,
        "model_fused_consensus": agreement(shares(fused)),
        "retrieval": [-k for k in range(len(points))],
        "consensus": agreement([1] * len(points)),
        "similarity": [-9 if s is None else s for s in similarities],
        "oracle": [-geodesic(truth, point).km for point in points],
    }


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.1, 5), st.floats(0, 3))
def test_picks_equal_their_definitions(seed, temperature, weight):
    cases = random_cases(4, seed)
    picks = ranker_picks(cases, temperature=temperature, similarity_weight=weight)
    for number, case in enumerate(cases):
        values = brute_force_values(case, temperature, weight)
        assert values.keys() == picks.keys() - {"random"}
        for name, of_candidates in values.items():
            # Two candidates alone agree equally; rounding decides there.
            assert of_candidates[picks[name][number]] == pytest.approx(max(of_candidates), abs=1e-9), name


def test_rankers_without_input_are_absent():
    baselines = {"retrieval", "consensus", "random", "oracle"}
    assert set(ranker_picks(random_cases(3, rewards=False, similarities=False))) == baselines
    assert set(ranker_picks(random_cases(3, rewards=False))) == baselines | {"similarity"}
    models = {"model", "model_consensus"}
    assert set(ranker_picks(random_cases(3, similarities=False))) == baselines | models


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
    assert found == calibration_error(fused, picks["model_fused"], 0.5)
    plain = build_report(cases, picks, prediction="model", **settings)["calibration_error"]
    assert plain == calibration_error(cases, picks["model"], 0.5)


def test_random_picks_are_seeded_and_fair():
    cases = [case for case in random_cases(400, rewards=False) if len(case.points) == 4]
    first, again, other = (ranker_picks(cases, seed=seed)["random"] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert set(first) == {0, 1, 2, 3}


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
        assert set(baselines) == {"retrieval", "consensus", "similarity"}
        for baseline, figures in baselines.items():
            for t in THRESHOLDS:
                assert figures["accuracy"][str(t)] == pytest.approx(within[model][t] - within[baseline][t])
                low, high = figures["accuracy_ci95"][str(t)]
                assert low <= figures["accuracy"][str(t)] <= high
    for model, gap in report["gap_closed"].items():
        for t in THRESHOLDS:
            gained, possible = (within[name][t] - within["retrieval"][t] for name in (model, "oracle"))
            assert gap[str(t)] == (pytest.approx(100 * gained / possible) if possible else None)


def test_calibration_error_of_a_known_case():
    """Two candidates 111 km apart share a region, a third is far away: confidence is the region's mass."""
    candidates = (Candidate(0.0, 0.0), Candidate(1.0, 0.0), Candidate(40.0, 0.0))
    rewards = np.log([0.5, 0.3, 0.2])
    right = Case(Query("a", candidates, (), 0.5, 0.0), rewards)
    wrong = Case(Query("b", candidates, (), 60.0, 0.0), rewards)
    assert calibration_error([right], np.array([0]), 1.0) == pytest.approx(0.2)
    assert calibration_error([right, wrong], np.array([0, 0]), 1.0) == pytest.approx(0.8 - 0.5)
    only = Case(Query("c", candidates[:1], (), 0.0, 0.0), rewards[:1])
    assert calibration_error([only], np.array([0]), 1.0) == pytest.approx(0)


def test_nearest_across_the_dateline():
    found = nearest_km([(0, 179.9), (89.9, 0)], [(0, -179.9), (0, 170), (89.9, 180)])
    expected = [great_circle((0, 179.9), (0, -179.9)).km, great_circle((89.9, 0), (89.9, 180)).km]
    assert found == pytest.approx(expected, rel=1e-5)


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


def test_predictions_table():
    cases = random_cases(5)
    picks = ranker_picks(cases)
    table = predictions_table(cases, picks, "model")
    for number, (case, row) in enumerate(zip(cases, table.to_dict("records"), strict=True)):
        best = int(np.argmax(case.rewards))
        assert row["IMG_ID"] == f"q{number}.jpg"
        assert row["candidate_gps_lis"][best] == (row["predicted_latitude"], row["predicted_longitude"])
        assert row["candidate_reward_lis"][best] == max(row["candidate_reward_lis"])
        assert row["model"] == best
        assert row["error_km"] == row["candidate_distance_lis"][best]
        assert len(row["candidate_source_lis"]) == len(case.points)


def test_text_shows_what_the_report_holds():
    cases = random_cases(40)
    picks = ranker_picks(cases, similarity_weight=0.5)
    report = build_report(cases, picks, prediction="model_consensus", gallery=[(0, 0)], training=[(0, 0)])
    lines = format_report(report).splitlines()
    assert lines[0].startswith("40 queries")
    for name, figures in report["rankers"].items():
        (line,) = (line for line in lines if line.split()[:1] == [name] and "[" in line and " - " not in line)
        assert ("*" in line) == (name == "model_consensus")
        assert f"{figures['accuracy']['200']:.1f}" in line
        assert f"{figures['median_km']:.1f}" in line
    assert max(map(len, lines)) <= 140
    errors = picked_errors(cases, picks["oracle"])
    assert (errors <= picked_errors(cases, picks["model"])).all()
