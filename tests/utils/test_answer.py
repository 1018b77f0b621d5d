"""What is stated of an answer: what is known of it, or nothing."""

import json

import pytest

from utils.answer import Demand, NothingKnown, answer, format_chance
from utils.calibration import FEATURES, Calibration, outlook
from utils.candidates import Candidate

PLACE = Candidate(46.1, 7.07, ("Martigny",), "g.jpg")
KNOWN = outlook([(46.1, 7.07), (44.2, 6.7)], [0.7, 0.3], 0, [False, False])
ODDS = tuple((chance, *[0.0] * FEATURES) for chance in (-9.0, -1.0, 0.0, 2.0, 9.0))
FITTED = Calibration(ODDS, (3.0, *[0.0] * FEATURES), (1.0, 2.0, 3.0, 4.0), 500)


def test_without_a_calibration_nothing_is_stated():
    found = answer(PLACE, "Martigny", KNOWN, None, why_unknown="it is new")
    assert (found.latitude, found.longitude, found.place, found.candidate) == (46.1, 7.07, "Martigny", PLACE)
    assert (found.confidence, found.regions, found.answered) == (None, None, True)
    written = found.as_json()
    assert (written["confidence"], written["regions"], written["why_unknown"]) == (None, None, "it is new")
    with pytest.raises(NothingKnown, match=r"^no confidence can be asked for: it is new$"):
        answer(PLACE, "Martigny", KNOWN, None, Demand(0.5, 200), "it is new")


def test_an_answer_is_given_where_it_is_sure_enough():
    assert answer(PLACE, "Martigny", KNOWN, FITTED).answered
    assert answer(PLACE, "Martigny", KNOWN, FITTED, Demand(0.5, 200)).answered
    assert not answer(PLACE, "Martigny", KNOWN, FITTED, Demand(0.51, 200)).answered
    assert answer(PLACE, "Martigny", KNOWN, FITTED, Demand(0.51, 750)).answered


def test_json_has_confidences_and_regions_as_they_are():
    found = answer(PLACE, "Martigny", KNOWN, FITTED)
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert {int(radius): chance for radius, chance in written["confidence"].items()} == found.confidence
    for level, region in found.regions.items():
        own = written["regions"][str(level)]
        assert own["area_km2"] == pytest.approx(region.area_km2, abs=0.1)
        assert [disc["radius_km"] for disc in own["discs"]] == [
            pytest.approx(disc.radius_km, abs=0.06) for disc in region.discs
        ]


@pytest.mark.parametrize(
    ("chance", "words"),
    [(0.0, "hardly ever"), (0.0099, "hardly ever"), (0.01, "1%"), (0.99, "99%"), (1.0, "nearly always")],
)
def test_chances_in_words(chance, words):
    assert format_chance(chance) == words


@pytest.mark.parametrize("values", [(1.5, 25), (-0.1, 25), (float("nan"), 25), (0.5, 30)])
def test_a_demand_is_a_probability_within_a_known_distance(values):
    with pytest.raises(ValueError, match=r"within_km is one of 1, 25, 200, 750, 2500"):
        Demand(*values)
