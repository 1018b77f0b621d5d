from dataclasses import replace

import numpy as np
import pytest
from geopy.distance import great_circle

from tests.cases import random_cases
from utils.evaluation.cases import Case
from utils.evaluation.consensus_fit import GRID, best, cross_validated, deal, goodness, grid_picks, stated_across
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
    fold_of = deal(30, folds=5, seed=3)
    found, chosen = cross_validated(values, picks, fold_of)
    assert len(chosen) == 5
    for number in range(30):
        fold = [row for row in chosen if picks[row, number] == found[number]]
        assert fold
        spoiled = values.copy()
        spoiled[:, number] = random.permutation([1000.0, 0, 0, 0, 0, 0, 0])
        again, _ = cross_validated(spoiled, picks, fold_of)
        assert again[number] == found[number]
    # All folds alike: the one best decoder answers everything.
    values[4] = 2
    found, chosen = cross_validated(values, picks, deal(30, folds=30, seed=0))
    assert chosen == [4] * 30
    assert (found == picks[4]).all()


def test_folds_are_not_empty():
    assert np.bincount(deal(23, folds=5, seed=1)).tolist() == [5, 5, 5, 4, 4]
    with pytest.raises(ValueError, match="3 queries are too few for 4 folds"):
        deal(3, folds=4, seed=0)


def test_a_query_has_no_part_in_what_is_stated_of_it():
    """Its truth moved to elsewhere: what is stated of its fold stays, what is stated of the other changes."""
    cases = random_cases(420, rewards=False)
    fold_of, row = np.arange(420) % 2, 500
    picks = np.zeros((len(GRID), 420), dtype=int)
    picks[row] = [GRID[row].pick(case.evidence) for case in cases]
    before = stated_across(cases, picks, fold_of, [row, row])
    query = cases[0].query
    cases[0] = Case(replace(query, latitude=-query.latitude, longitude=query.longitude / 2))
    after = stated_across(cases, picks, fold_of, [row, row])
    assert (after.chances[:210] == before.chances[:210]).all()
    assert (after.chances[210:] != before.chances[210:]).any()
    assert (after.radii[:210] == before.radii[:210]).all()
    assert after.errors[0] != before.errors[0]
    with pytest.raises(ValueError, match="105 queries are too few"):
        stated_across(cases[:210], picks[:, :210], fold_of[:210], [row, row])
