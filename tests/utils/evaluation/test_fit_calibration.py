"""Fitted on invented queries whose truth is known, confidence and regions hold on others drawn alike."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from utils.calibration import LEAST_RADIUS_KM, LEVELS, Outlook, outlook
from utils.evaluation.fit_calibration import LEAST_QUERIES, LEAST_SIZE, conformal_quantile, fit_calibration, least_size
from utils.geography.discs import region
from utils.geography.geodesy import THRESHOLDS_KM, geodesic_km


def drawn(count: int, seed: int) -> tuple[list[Outlook], np.ndarray, np.ndarray]:
    """Queries with seven candidates; how widely those are spread tells how far off the truth is."""
    random = np.random.default_rng(seed)
    outlooks, truths, errors = [], [], []
    for _ in range(count):
        truth, spread = random.uniform([-60, -170], [60, 170]), 10 ** random.uniform(-1.5, 1)
        places = np.clip(truth + spread * random.normal(size=(7, 2)), [-90, -180], [90, 180])
        if random.random() < 0.1:  # the truth is elsewhere, and the candidates do not know
            truth = random.uniform([-60, -170], [60, 170])
        shares = random.dirichlet(np.ones(7))
        answer = int(shares.argmax())
        outlooks.append(outlook(places, shares, answer, random.random(7) < 0.3))
        truths.append(truth)
        errors.append(float(geodesic_km(*truth, *places[answer])))
    return outlooks, np.array(truths), np.array(errors)


@pytest.fixture(scope="module")
def fitted():
    return fit_calibration(*drawn(1000, 0))


def test_confidence_is_how_often_answers_are_right(fitted):
    outlooks, _, errors = drawn(1000, 1)
    stated = [fitted.confidence(known) for known in outlooks]
    for radius in THRESHOLDS_KM[1:]:
        chances, is_near = np.array([chance[radius] for chance in stated]), errors < radius
        assert abs(chances.mean() - is_near.mean()) < 0.04
        if radius in (25, 200):  # beyond, only those are wrong that nothing tells
            rate = is_near.mean()
            assert brier_score_loss(is_near, chances) < 0.9 * rate * (1 - rate)


def test_regions_hold_the_truth_as_often_as_they_promise(fitted):
    outlooks, truths, _ = drawn(1000, 2)
    held = {level: 0 for level in LEVELS}
    for known, truth in zip(outlooks, truths, strict=True):
        for level, found in fitted.regions(known).items():
            held[level] += found.contains(*truth)
    for level, count in held.items():
        assert 100 * count / len(outlooks) == pytest.approx(level, abs=5)


def test_a_radius_that_no_answer_reaches_gets_the_rate_and_no_more():
    outlooks, truths, errors = drawn(LEAST_QUERIES, 3)
    fitted = fit_calibration(outlooks, truths, np.maximum(errors, 1.0))
    stated = [fitted.confidence(known)[1] for known in outlooks]
    assert max(stated) == min(stated) == pytest.approx(1 / (LEAST_QUERIES + 2), rel=1e-4)


def test_too_few_queries_are_refused():
    outlooks, truths, errors = drawn(20, 4)
    with pytest.raises(ValueError, match="20 queries are too few"):
        fit_calibration(outlooks, truths, errors)


def test_the_conformal_quantile_counts_one_more():
    scores = np.arange(1.0, 10.0)  # nine of them: 90% of ten is the ninth
    assert conformal_quantile(scores, 0.9) == 9
    assert conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores, 0.99) == 9


def test_the_least_size_is_where_a_region_begins_to_hold_the_truth(fitted):
    outlooks, truths, _ = drawn(60, 5)
    for known, truth in zip(outlooks, truths, strict=True):
        size = least_size(known, fitted.scale, *truth)
        assert region(known.points, fitted.radii(known, size * 1.001)).contains(*truth)
        if size > LEAST_SIZE:
            assert not region(known.points, fitted.radii(known, size * 0.999)).contains(*truth)


def test_answers_that_are_right_on_the_spot_need_no_region(fitted):
    """More than half of the truths lie at the answer: regions of 50% hold them, and are as small as can be."""
    outlooks, truths, errors = drawn(400, 6)
    exact = np.arange(400) % 5 > 1
    truths[exact], errors[exact] = [known.points[0] for known in np.array(outlooks)[exact]], 0.0
    found = fit_calibration(outlooks, truths, errors)
    assert found.sizes[0] == LEAST_SIZE
    radii = [found.radii(known, found.sizes[0]) for known in outlooks]
    assert all(row[0] == LEAST_RADIUS_KM and not row[1:].any() for row in radii)
