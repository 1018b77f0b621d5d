import re

import pytest
from geopy.distance import great_circle

from utils.geography.place_names import place_names

BISHKEK = (42.87, 74.59)


def test_a_place_has_its_own_names_or_those_of_the_nearest_town():
    named, partly, nameless = place_names(
        [(46.1, 7.07), (46.1, 7.07), BISHKEK],
        [("Martigny", "Valais", "Switzerland"), ("", "Valais", ""), ("", "")],
    )
    assert named == "Martigny, Valais, Switzerland"
    assert partly == "Valais"
    assert re.fullmatch(r"[0-3] km from Bishkek, Kyrgyzstan", nameless)


def test_the_distance_is_from_the_point_to_the_town():
    """In the Pacific, where there is only one."""
    point, hanga_roa = (-27.15, -115.0), (-27.15, -109.43)
    (name,) = place_names([point], [()])
    distance, town = name.split(" km from ")
    assert town == "Hanga Roa, Chile"
    assert float(distance) == pytest.approx(great_circle(point, hanga_roa).km, abs=3)
