import numpy as np
import pytest
from geopy.distance import great_circle

from tests.cases import random_cases
from utils.evaluation.consensus_fit import GRID, best, cross_validated, goodness, grid_picks
from utils.geography.geodesy import THRESHOLDS_KM


def test_picks_are_those_of_the_decoders_by_definition():
    """One candidate and one decoder at a time; of candidates that agree equally, rounding takes one."""
    cases = random_cases(6, rewards=False)
    picks = grid_picks(cases)
    assert picks.shape == (len(GRID), len(cases))
    for row in range(0, len(GRID), 37):
        decoder = GRID[row]
        for number, case in enumerate(cases):
            weights = [
                decoder.guess_weight if candidate.source == "generation" else np.exp(-decoder.rank_decay * rank)
                for rank, candidate in enumerate(case.query.candidates)
            ]
            votes = list(zip(case.points, weights, strict=True))
            sums = [sum(w * np.exp(-great_circle(a, b).km / decoder.scale_km) for b, w in votes) for a in case.points]
            assert sums[picks[row, number]] == pytest.approx(max(sums), rel=1e-9)
            assert sums[decoder.pick(case.evidence)] == pytest.approx(max(sums), rel=1e-9)


def test_goodness_is_the_share_of_thresholds():
    cases = random_cases(20, rewards=False)
    picks = np.zeros((1, 20), dtype=int)
    values = goodness(cases, picks)
    for value, case in zip(values[0], cases, strict=True):
        assert value == pytest.approx(100 * np.mean([case.distances[0] < km for km in THRESHOLDS_KM]))


def test_the_first_of_equals_is_best():
    assert best(np.array([[0.0, 20.0], [40.0, 0.0], [0.0, 40.0]])) == 1


def test_a_query_has_no_part_in_its_own_answer():
    """Whatever it would gain: each fold gets the decoder that is best on the others."""
    random = np.random.default_rng(0)
    values, picks = random.uniform(size=(7, 30)), random.integers(0, 5, (7, 30))
    found, chosen = cross_validated(values, picks, folds=5, seed=3)
    assert len(chosen) == 5
    for number in range(30):
        fold = [row for row in chosen if picks[row, number] == found[number]]
        assert fold
        spoiled = values.copy()
        spoiled[:, number] = random.permutation([1000.0, 0, 0, 0, 0, 0, 0])
        again, _ = cross_validated(spoiled, picks, folds=5, seed=3)
        assert again[number] == found[number]
    # All folds alike: the one best decoder answers everything.
    values[4] = 2
    found, chosen = cross_validated(values, picks, folds=30, seed=0)
    assert chosen == [4] * 30
    assert (found == picks[4]).all()


def test_folds_are_not_empty():
    with pytest.raises(ValueError, match="3 queries are too few for 4 folds"):
        cross_validated(np.zeros((2, 3)), np.zeros((2, 3), dtype=int), folds=4, seed=0)
