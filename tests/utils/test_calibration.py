"""Confidence and regions: what they promise of any answer, and that nonsense is refused."""

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.calibration import FEATURES, LEVELS, Calibration, Calibrations, Sources, counted, outlook
from utils.geography.geodesy import THRESHOLDS_KM

points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@st.composite
def outlooks(draw):
    places = draw(st.lists(points, min_size=1, max_size=15))
    weights = np.array(draw(st.lists(st.floats(0, 1), min_size=len(places), max_size=len(places)))) + 1e-12
    guesses = draw(st.lists(st.booleans(), min_size=len(places), max_size=len(places)))
    return outlook(places, weights / weights.sum(), draw(st.integers(0, len(places) - 1)), guesses)


numbers = st.floats(-5, 5)
rows = st.lists(numbers, min_size=1 + FEATURES, max_size=1 + FEATURES).map(tuple)
calibrations = st.builds(
    lambda odds, scale, sizes: Calibration(tuple(odds), scale, tuple(sorted(sizes)), 500),
    st.lists(rows, min_size=len(THRESHOLDS_KM), max_size=len(THRESHOLDS_KM)),
    rows,
    st.lists(st.floats(0.01, 100), min_size=len(LEVELS), max_size=len(LEVELS)),
)
PLAIN = Calibration(
    ((0.0,) * (1 + FEATURES),) * len(THRESHOLDS_KM), (3.0,) + (0.0,) * FEATURES, (1.0, 2.0, 3.0, 4.0), 500
)
SOURCES = Sources(12, 3, 0.0, "abc")


@settings(deadline=None, max_examples=50)
@given(calibrations, outlooks())
def test_confidence_rises_with_the_radius_and_regions_with_the_level(fitted, known):
    chances = list(fitted.confidence(known).values())
    assert list(fitted.confidence(known)) == list(THRESHOLDS_KM)
    assert all(0 <= chance <= 1 for chance in chances)
    assert chances == sorted(chances)
    regions = [fitted.regions(known)[level] for level in LEVELS]
    for smaller, larger in pairwise(regions):
        assert smaller.area_km2 <= larger.area_km2 * 1.05
        for disc in smaller.discs:
            (same,) = (d for d in larger.discs if (d.latitude, d.longitude) == (disc.latitude, disc.longitude))
            assert same.radius_km >= disc.radius_km
    assert all(found.contains(*known.points[0]) for found in regions)


def test_two_likely_continents_get_a_disc_each():
    known = outlook([(46, 7), (46.1, 7.1), (-33.9, 151.2), (10, 10)], [0.45, 0.05, 0.45, 0.05], 0, [False] * 4)
    assert known.points.tolist() == [[46, 7], [-33.9, 151.2], [10, 10]]
    assert known.shares == pytest.approx([1, 0.9, 0.1])
    found = PLAIN.regions(known)[95]
    assert {(disc.latitude, disc.longitude) for disc in found.discs} == {(46, 7), (-33.9, 151.2), (10, 10)}
    assert found.radius_km < 500


def test_the_answer_comes_first_whatever_its_share():
    known = outlook([(46, 7), (-33.9, 151.2)], [0.2, 0.8], 0, [True, False])
    assert known.points[0].tolist() == [46, 7]
    assert known.shares.tolist() == [1, 1]
    assert known.features[-1] == 1


@given(calibrations)
def test_what_is_stored_reads_back(fitted):
    stored = Calibrations(SOURCES, {"argmax": fitted}, ((12, 3), (12, 2)))
    assert Calibrations.from_json(json.loads(json.dumps(asdict(stored)))) == stored


def test_other_sources_have_no_calibration():
    stored = Calibrations(SOURCES, {"argmax": PLAIN})
    assert stored.of("argmax", SOURCES) is PLAIN
    assert stored.of("consensus", SOURCES) is None
    for change in ({"topn": 10}, {"topn_zs": 0}, {"merge_km": 1.0}, {"gallery": None}):
        assert stored.of("argmax", replace(SOURCES, **change)) is None


def test_other_numbers_of_candidates_are_not_known():
    stored = Calibrations(SOURCES, {"argmax": PLAIN}, ((12, 3), (12, 2)))
    known = [(retrieved, guesses) for retrieved in range(15) for guesses in range(5) if stored.know(retrieved, guesses)]
    assert known == [(count, guesses) for count in (11, 12, 13) for guesses in (2, 3)]
    older = asdict(stored)
    del older["counts"]
    assert not Calibrations.from_json(json.loads(json.dumps(older))).know(12, 3)


@pytest.mark.parametrize("counts", [{}, 3, [12], [[12]], [[12, "3"]], [[12, True]], [[12, -1]], [[12, 3.0]]])
def test_numbers_of_candidates_that_are_none_are_refused(counts):
    stored = json.loads(json.dumps(asdict(Calibrations(SOURCES, {"argmax": PLAIN})))) | {"counts": counts}
    with pytest.raises(ValueError, match="counts must be pairs"):
        Calibrations.from_json(stored)


def test_things_are_counted():
    assert [counted(number, "row", "rows") for number in (0, 1, 2, 1563)] == [
        "no rows",
        "1 row",
        "2 rows",
        "1,563 rows",
    ]


def test_absurd_odds_are_probabilities():
    with np.errstate(all="raise"):
        for odds in (-1e6, 1e6):
            fitted = replace(PLAIN, odds=((odds, *[0.0] * FEATURES),) * 5)
            known = outlook([(46, 7), (-33.9, 151.2)], [0.2, 0.8], 0, [True, False])
            assert list(fitted.confidence(known).values()) == pytest.approx([float(odds > 0)] * 5, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("odds", [[1.0]]),
        ("odds", "many"),
        ("scale", [float("nan")] * (1 + FEATURES)),
        ("scale", [{}] * (1 + FEATURES)),
        ("sizes", [1.0, 2.0, 3.0]),
        ("sizes", [4.0, 3.0, 2.0, 1.0]),
        ("sizes", [0.0, 1.0, 2.0, 3.0]),
        ("queries", 0),
        ("queries", "many"),
    ],
)
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        Calibration.from_json(asdict(PLAIN) | {name: value})


@pytest.mark.parametrize(
    "value", [None, [], {"sources": {}, "methods": {}}, {"sources": asdict(SOURCES), "methods": []}]
)
def test_other_objects_are_refused(value):
    with pytest.raises(ValueError, match=r"sources|methods"):
        Calibrations.from_json(value)
