import json
import math
from functools import partial
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve

from utils.evaluation import metrics
from utils.evaluation.metrics import (
    accuracy,
    bootstrap_ci,
    coverage_curve,
    expected_calibration_error,
    geoscore,
    paired_difference_ci,
    paired_summary,
    pairwise_accuracy,
    reliability,
    summary,
)
from utils.geography.geodesy import THRESHOLDS_KM

distance_lists = st.lists(st.floats(0, 20000), min_size=1, max_size=60)


def test_a_distance_equal_to_the_threshold_does_not_count():
    assert accuracy([0.0, 1.0, 24.999, 25.0, 3000.0]).tolist() == [20, 60, 80, 80, 80]


def test_an_infinite_distance_is_a_miss():
    assert accuracy([np.inf, 0.0]).tolist() == [50] * 5
    assert geoscore([np.inf, 0.0]) == 2500


@settings(deadline=None, max_examples=50)
@given(distance_lists)
def test_accuracy_is_a_count(distances):
    counts = [100 * sum(d < km for d in distances) / len(distances) for km in THRESHOLDS_KM]
    np.testing.assert_allclose(accuracy(distances), counts)


def test_geoscore():
    assert geoscore([0.0]) == 5000
    assert geoscore([1492.7]) == pytest.approx(5000 / math.e)
    assert geoscore([0.0, 1492.7 * math.log(2)]) == pytest.approx(3750)


def test_bootstrap_interval_of_a_share_is_the_binomial_one():
    distances = np.repeat([10.0, 1000.0], [300, 700])
    low, high = bootstrap_ci(distances, accuracy, resamples=4000)
    expected = stats.binom(1000, 0.3).ppf([0.025, 0.975]) / 10
    np.testing.assert_allclose([low[1], high[1]], expected, atol=0.35)
    assert [low[0], high[0]] == [0, 0]
    assert [low[4], high[4]] == [100, 100]


def test_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(3).lognormal(5, 2, size=200)
    ours = bootstrap_ci(values, partial(np.median, axis=-1), resamples=4000, level=0.9)
    theirs = stats.bootstrap(
        (values,), np.median, n_resamples=4000, confidence_level=0.9, method="percentile", rng=4
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


def test_intervals_cover_the_truth_as_often_as_they_say():
    random = np.random.default_rng(5)
    covered = 0
    for repeat in range(200):
        low, high = bootstrap_ci(
            random.exponential(100, size=80), partial(np.mean, axis=-1), resamples=300, seed=repeat
        )
        covered += low <= 100 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_seed_gives_one_interval():
    values = np.random.default_rng(0).exponential(500, size=100)
    assert np.array_equal(bootstrap_ci(values, accuracy, seed=1), bootstrap_ci(values, accuracy, seed=1))
    assert not np.array_equal(bootstrap_ci(values, accuracy, seed=1), bootstrap_ci(values, accuracy, seed=2))


def test_samples_are_drawn_one_after_the_other_however_many_at_once(monkeypatch):
    pairs = np.random.default_rng(0).exponential(500, size=(90, 2))
    random = np.random.default_rng(7)
    draws = [[pairs[i].mean(), pairs[i].max()] for i in (random.integers(90, size=90) for _ in range(50))]
    for queries in (1, 300, 10**6):
        monkeypatch.setattr(metrics, "DRAWN_AT_ONCE", queries)
        ours = bootstrap_ci(
            pairs, lambda drawn: np.stack([drawn.mean(axis=(1, 2)), drawn.max(axis=(1, 2))], axis=1),
            resamples=50, seed=7,
        )  # fmt: skip
        np.testing.assert_allclose(ours, np.quantile(draws, [0.025, 0.975], axis=0), rtol=1e-12)


def test_paired_difference_removes_what_queries_share():
    random = np.random.default_rng(1)
    hard = random.exponential(2000, size=500)
    better, worse = hard, hard + 50
    difference, low, high = paired_difference_ci(better, worse, partial(np.mean, axis=-1))
    np.testing.assert_allclose([difference, low, high], -50)
    difference, low, high = paired_difference_ci(better, random.permutation(worse), partial(np.mean, axis=-1))
    assert difference == pytest.approx(-50)
    assert high - low > 200


def test_paired_difference_of_accuracies_has_the_sign_of_the_first():
    first, second = np.repeat([10.0, 900.0], [80, 20]), np.repeat([10.0, 900.0], [40, 60])
    difference, low, high = paired_difference_ci(first, second, accuracy)
    assert difference.tolist() == [0, 40, 40, 40, 0]
    assert 0 < low[2] < 40 < high[2] < 60


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_calibration_error_is_its_definition(answers, bins):
    expected = 0
    for b in range(bins):
        last = b == bins - 1
        inside = [(p, hit) for p, hit in answers if math.floor(p * bins) == b or (last and p == 1)]
        if inside:
            gap = np.mean([p for p, _ in inside]) - np.mean([hit for _, hit in inside])
            expected += len(inside) / len(answers) * abs(gap)
    assert expected_calibration_error(*zip(*answers, strict=True), bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_known_forecasters():
    random = np.random.default_rng(2)
    confidence = random.uniform(size=50000)
    assert expected_calibration_error(confidence, random.uniform(size=50000) < confidence) < 0.02
    assert expected_calibration_error(np.full(10, 0.9), np.arange(10) < 4) == pytest.approx(0.5)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_reliability_is_its_definition(answers, bins):
    rows = []
    for b in range(bins):
        last = b == bins - 1
        inside = [(p, hit) for p, hit in answers if math.floor(p * bins) == b or (last and p == 1)]
        if inside:
            rows.append((np.mean([p for p, _ in inside]), np.mean([hit for _, hit in inside]), len(inside)))
    found = reliability(*zip(*answers, strict=True), bins)
    assert json.loads(json.dumps(found)) == found
    for values, expected in zip(found.values(), zip(*rows, strict=True), strict=True):
        assert values == pytest.approx(expected)


def test_reliability_is_scikit_learns():
    random = np.random.default_rng(6)
    confidence = random.beta(3, 1, size=700)
    correct = random.uniform(size=700) < confidence**2
    right, stated = calibration_curve(correct, confidence, n_bins=10)
    found = reliability(confidence, correct)
    np.testing.assert_allclose(found["confidence"], stated)
    np.testing.assert_allclose(found["correct"], right)
    assert sum(found["count"]) == 700


few_answers = st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=5)


@settings(deadline=None, max_examples=50)
@given(few_answers)
def test_coverage_curve_is_the_mean_over_all_orders(answers):
    curves = []
    for order in permutations(answers):
        if all(first[0] >= second[0] for first, second in pairwise(order)):
            hits = [hit for _, hit in order]
            curves.append([100 * sum(hits[:k]) / k for k in range(1, len(hits) + 1)])
    np.testing.assert_allclose(coverage_curve(*zip(*answers, strict=True)), np.mean(curves, axis=0))


def test_coverage_curve_is_scikit_learns_precision():
    random = np.random.default_rng(7)
    confidence = random.integers(0, 40, size=300) / 40
    correct = random.uniform(size=300) < confidence
    precision, _, thresholds = precision_recall_curve(correct, confidence)
    answered = [np.count_nonzero(confidence >= threshold) for threshold in thresholds]
    curve = coverage_curve(confidence, correct)
    np.testing.assert_allclose(curve[np.array(answered) - 1], 100 * precision[:-1])
    assert curve[-1] == pytest.approx(100 * correct.mean())


def test_coverage_curve_of_known_orders():
    assert coverage_curve([0.9, 0.2, 0.5, 0.4], [True, False, True, False]) == pytest.approx([100, 100, 200 / 3, 50])
    assert coverage_curve([0.3, 0.3], [True, False]).tolist() == [50, 50]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(-9, 9), st.floats(0, 9)),
        min_size=2,
        max_size=15,
        unique_by=(lambda p: p[0], lambda p: p[1]),
    )
)
def test_pairwise_accuracy_is_kendalls_tau(candidates):
    rewards, distances = np.array(candidates).T
    tau = stats.kendalltau(rewards, -distances).statistic
    assert pairwise_accuracy(rewards, distances) == pytest.approx(50 + 50 * tau)


def test_pairwise_accuracy_of_ties():
    assert pairwise_accuracy([1.0, 1.0], [5.0, 9.0]) == 50
    assert pairwise_accuracy([3.0, 2.0, 1.0], [5.0, 5.0, 9.0]) == 100
    assert math.isnan(pairwise_accuracy([3.0, 2.0], [5.0, 5.0]))
    assert math.isnan(pairwise_accuracy([3.0], [5.0]))


def test_summary_is_what_a_report_writes():
    distances = np.random.default_rng(8).lognormal(5, 2, size=300)
    written = summary(distances, seed=4)
    assert json.loads(json.dumps(written)) == written
    assert list(written) == ["accuracy", "accuracy_ci95", "median_km", "geoscore"]
    assert list(written["accuracy"]) == list(written["accuracy_ci95"]) == ["1", "25", "200", "750", "2500"]
    assert list(written["accuracy"].values()) == accuracy(distances).tolist()
    low, high = bootstrap_ci(distances, accuracy, seed=4)
    assert written["accuracy_ci95"]["200"] == [low[2], high[2]]
    assert low[2] < written["accuracy"]["200"] < high[2]
    assert written["median_km"] == np.median(distances)
    assert written["geoscore"] == geoscore(distances)


def test_no_query_cannot_be_summarised():
    with pytest.raises(ValueError, match="no query"):
        summary([])


def test_paired_summary_is_what_a_report_writes():
    random = np.random.default_rng(9)
    first, second = random.lognormal(5, 2, size=(2, 200))
    written = paired_summary(first, second, seed=3)
    assert json.loads(json.dumps(written)) == written
    difference, low, high = paired_difference_ci(first, second, accuracy, seed=3)
    assert list(written["accuracy"].values()) == difference.tolist()
    assert written["accuracy_ci95"]["750"] == [low[3], high[3]]
