import numpy as np

from utils.candidates import Candidate, Query
from utils.evaluation.cases import Case, picked_errors


def case(*sources, longitudes=None):
    longitudes = longitudes or range(len(sources))
    candidates = [Candidate(0.0, float(lon), source=name) for lon, name in zip(longitudes, sources, strict=True)]
    return Case(Query("q", tuple(candidates), (), 0.0, 0.0))


def test_ranks_count_what_is_no_guess():
    found = case("retrieval", "generation", "retrieval", "mine", "generation")
    np.testing.assert_array_equal(found.ranks, [0, np.nan, 1, 2, np.nan])
    np.testing.assert_array_equal(found.evidence.ranks, found.ranks)
    assert np.isnan(case("generation").ranks).all()


def test_errors_are_those_of_the_picks():
    cases = [case("retrieval", "retrieval"), case("retrieval", "retrieval", longitudes=(3, 4))]
    errors = picked_errors(cases, np.array([0, 1]))
    assert errors.tolist() == [0, cases[1].distances[1]]
    assert 440 < errors[1] < 450
