from dataclasses import replace

import pytest
from geopy.distance import geodesic

from utils.answer import Demand
from utils.locating.listing import distances_to, format_answer, format_ranking

TRUTH = (46.0, 7.0)
MADE_OF = [
    "Decided by: the GeoRanker in path/adapter, by the agreement of the candidates",
    "Candidates: 1 similar photo of a gallery; 1 guess",
]


def test_distances_are_geodesic_and_in_the_order_of_the_ranking(answer):
    expected = [geodesic(TRUTH, point).km for point in ((46.1, 7.07), (-33.9, 151.2))]
    assert distances_to(TRUTH, answer) == pytest.approx(expected, rel=1e-9)


def test_a_line_a_place(answer):
    assert format_ranking(answer).splitlines() == [
        "        latitude   longitude    reward    share  place",
        "   1    46.10000     7.07000    -1.250    75.0%  Martigny (retrieval)",
        "   2   -33.90000   151.20000    -2.500    25.0%  Sydney, Australia (generation)",
    ]
    assert format_ranking(answer, [12.34, 16_543.2]).splitlines() == [
        "        latitude   longitude    reward    share     to truth  place",
        "   1    46.10000     7.07000    -1.250    75.0%      12.3 km  Martigny (retrieval)",
        "   2   -33.90000   151.20000    -2.500    25.0%  16,543.2 km  Sydney, Australia (generation)",
    ]


def test_the_answer_is_the_decoded_place_not_the_first(answer):
    lines = [
        "Prediction: -33.90000, 151.20000: Sydney, Australia",
        "Confidence: hardly ever within 1 km, 25% within 25 km, 30% within 200 km, 30% within 750 km, "
        "nearly always within 2500 km",
        "Region that holds the truth 50% of the time: one disc, as large as one of 30 km radius",
        "Region that holds the truth 90% of the time: 2 discs, as large as one of 100 km radius",
    ]
    assert format_answer(answer).splitlines() == [*lines, *MADE_OF]
    distance = geodesic(TRUTH, (-33.9, 151.2)).km
    truth = f"Truth: 46.00000, 7.00000, {distance:,.1f} km from the prediction"
    assert format_answer(answer, TRUTH).splitlines() == [*lines, truth, *MADE_OF]


def test_what_is_unknown_is_not_stated(answer):
    silent = replace(answer, confidence=None, regions=None, why_unknown="argmax was not calibrated")
    assert format_answer(silent).splitlines()[1:] == ["Confidence: unknown; argmax was not calibrated", *MADE_OF]


def test_an_answer_that_is_not_sure_enough_says_so_first(answer):
    unsure = replace(answer, answered=False, demand=Demand(0.905, 25))
    first = "Not sure: less than the 90.5% within 25 km that were demanded. The best candidate:"
    assert format_answer(unsure).splitlines()[0] == first
    assert format_answer(unsure).splitlines()[1:] == format_answer(answer).splitlines()


def test_a_vote_has_no_rewards(answer):
    voted = replace(
        answer, decode=None, ranker="consensus", places=tuple(replace(p, reward=None) for p in answer.places)
    )
    assert format_ranking(voted).splitlines() == [
        "        latitude   longitude    share  place",
        "   1    46.10000     7.07000    75.0%  Martigny (retrieval)",
        "   2   -33.90000   151.20000    25.0%  Sydney, Australia (generation)",
    ]
    assert "Decided by: a vote of the candidates (no ranker)" in format_answer(voted).splitlines()
