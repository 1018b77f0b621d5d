import re

import pytest
from geopy.distance import great_circle

from utils.geography.place_names import place_names

BISHKEK = (42.87, 74.59)
# In the Pacific, where there is only one town.
POINT, HANGA_ROA = (-27.15, -115.0), (-27.15, -109.43)


def test_a_place_has_its_own_names_or_those_of_the_nearest_town():
    named, partly, nameless = place_names(
        [(46.1, 7.07), (46.1, 7.07), BISHKEK],
        [("Martigny", "Valais", "Switzerland"), ("", "Valais", ""), ("", "")],
    )
    assert named == "Martigny, Valais, Switzerland"
    assert partly == "Valais"
    assert nameless == "Bishkek, Kyrgyzstan"


@pytest.mark.parametrize(
    ("texts", "town"),
    [((), "Hanga Roa, Chile"), (("Hanga Roa", "Valparaíso", "Chile"), "Hanga Roa, Valparaíso, Chile")],
)
def test_far_from_a_town_the_distance_is_said(texts, town):
    """Whether the town was looked up just now or when the table was made."""
    (name,) = place_names([POINT], [texts])
    distance = re.fullmatch(rf"(\d+) km from {town}", name)[1]
    assert float(distance) == pytest.approx(great_circle(POINT, HANGA_ROA).km, abs=3)
    (at_home,) = place_names([HANGA_ROA], [texts])
    assert at_home == town


def test_the_distance_begins_at_5_km():
    """Northward from the town's point: never 0 km, never from 1 to 4."""
    names = place_names([(HANGA_ROA[0] + step / 111.2, HANGA_ROA[1]) for step in range(40)], [()] * 40)
    distances = [int(found[1]) for found in (re.match(r"(\d+) km from ", name) for name in names) if found]
    assert names[0] == "Hanga Roa, Chile"
    assert min(distances) == 5
    assert distances == sorted(distances)
    assert len(distances) > 30


def test_names_of_areas_and_words_of_the_callers_stand_as_they_are():
    """A place lies within its area, however far the town is."""
    for texts in (("Isla de Pascua", "Chile"), ("Valparaíso", "Chile"), ("Hanga Roa",), ("off Hanga Roa", "Chile")):
        assert place_names([POINT], [texts]) == [", ".join(texts)]


def test_a_distance_of_thousands_can_be_read():
    (name,) = place_names([(-48.9, -123.4)], [()])  # Point Nemo, the farthest from any land
    assert re.fullmatch(r"\d,\d{3} km from .*", name)
