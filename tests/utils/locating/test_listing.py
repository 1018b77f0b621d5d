import pytest
from geopy.distance import geodesic

from utils.locating.listing import distances_to, format_answer, format_ranking

TRUTH = (46.0, 7.0)


def test_distances_are_geodesic_and_in_the_order_of_the_ranking(outcome):
    expected = [geodesic(TRUTH, point).km for point in ((46.1, 7.07), (-33.9, 151.2))]
    assert distances_to(TRUTH, outcome) == pytest.approx(expected, rel=1e-9)


def test_a_line_a_place(outcome):
    assert format_ranking(outcome).splitlines() == [
        "        latitude   longitude    reward  probability  place",
        "   1    46.10000     7.07000    -1.250        75.0%  Martigny (retrieval)",
        "   2   -33.90000   151.20000    -2.500        25.0%  Sydney, Australia (generation)",
    ]
    assert format_ranking(outcome, [12.34, 16_543.2]).splitlines() == [
        "        latitude   longitude    reward  probability     to truth  place",
        "   1    46.10000     7.07000    -1.250        75.0%      12.3 km  Martigny (retrieval)",
        "   2   -33.90000   151.20000    -2.500        25.0%  16,543.2 km  Sydney, Australia (generation)",
    ]


def test_the_answer_is_the_decoded_place_not_the_first(outcome):
    lines = [
        "Prediction: -33.90000, 151.20000: Sydney, Australia",
        "Confidence: 25% within 1 km, 25% within 25 km, 30% within 200 km, 30% within 750 km, 99% within 2500 km",
    ]
    assert format_answer(outcome).splitlines() == lines
    distance = geodesic(TRUTH, (-33.9, 151.2)).km
    truth = f"Truth: 46.00000, 7.00000, {distance:,.1f} km from the prediction"
    assert format_answer(outcome, TRUTH).splitlines() == [*lines, truth]
