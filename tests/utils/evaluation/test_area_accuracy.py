"""Shares of answers in the area of the truth, counted by hand."""

import numpy as np
import pytest

from utils.candidates import Candidate, Query
from utils.evaluation.area_accuracy import area_accuracy
from utils.evaluation.cases import Case
from utils.geography.osv5m_areas import areas_of

PARIS, LYON, BERLIN = (48.8566, 2.3522), (45.764, 4.8357), (52.52, 13.405)


def case(image, *candidates):
    return Case(Query(image, tuple(Candidate(*point) for point in candidates), latitude=48.8566, longitude=2.3522))


def test_shares_of_the_queries_that_have_a_label():
    cases = [case(name, PARIS, LYON, BERLIN) for name in "abcd"]
    country, region, sub_region, city = areas_of(np.array([PARIS]))[0]
    areas = {
        "a": (country, region, sub_region, city),
        "b": (country, region, "", "Elsewhere"),
        "c": (country, "", "", ""),
    }
    picks = {"near": np.array([0, 0, 1, 0]), "far": np.array([1, 2, 2, 2])}
    assert area_accuracy(cases, picks, areas) == {
        "country": {"num_queries": 3, "accuracy": {"near": 100.0, "far": pytest.approx(100 / 3)}},
        "region": {"num_queries": 2, "accuracy": {"near": 100.0, "far": 0.0}},
        "sub-region": {"num_queries": 1, "accuracy": {"near": 100.0, "far": 0.0}},
        "city": {"num_queries": 2, "accuracy": {"near": 50.0, "far": 0.0}},
    }
    assert area_accuracy(cases, picks, {}) == {}
