import numpy as np
import pytest
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st

from earth.recipe import TILE_PIXELS
from earth.world.imagery import FOOTPRINT_KM, Earth, load_earth
from utils.geography.geodesy import EARTH_RADIUS_KM


@pytest.fixture(scope="module")
def graticule() -> Earth:
    """An Earth whose colours say where a pixel is: red the latitude, green and blue the longitude's cosine and sine."""
    lat, lon = np.mgrid[90:-90:720j, -180:180:1440j]
    lat, lon = lat - 0.125 * np.sign(lat), np.radians(lon)
    colours = np.stack([(lat + 90) / 180, (1 + np.cos(lon)) / 2, (1 + np.sin(lon)) / 2], axis=-1)
    return Earth((colours * 255).astype(np.uint8), np.ones((720, 1440), dtype=bool))


def read_place(pixel: np.ndarray) -> tuple[float, float]:
    red, green, blue = pixel.astype(float) / 255
    return red * 180 - 90, np.degrees(np.arctan2(2 * blue - 1, 2 * green - 1))


@given(lat=st.floats(-80, 80), lon=st.floats(-180, 180), heading=st.floats(0, 360), scale=st.floats(0.5, 8))
@settings(deadline=None, max_examples=50)
def test_tile_shows_the_place_that_geopy_finds_in_that_direction(graticule, lat, lon, heading, scale):
    tile = graticule.tile(lat, lon, heading, scale)
    top_km = FOOTPRINT_KM * scale * (0.5 - 0.5 / TILE_PIXELS)
    seen = read_place(tile[0, TILE_PIXELS // 2 - 1 : TILE_PIXELS // 2 + 1].mean(axis=0))
    reached = great_circle(kilometers=top_km, radius=EARTH_RADIUS_KM).destination((lat, lon), bearing=heading)
    # A colour step is 0.7 degrees of latitude.
    assert great_circle(seen, reached).km < 160


def test_tile_across_the_antimeridian_is_the_tile_beside_it_moved():
    earth = load_earth()
    at_180, at_minus_180 = earth.tile(-17.0, 180.0), earth.tile(-17.0, -180.0)
    assert np.array_equal(at_180, at_minus_180)
    moved = earth.tile(-17.0, 179.0)
    pixels = round(np.cos(np.radians(17)) * np.pi * EARTH_RADIUS_KM / 180 / FOOTPRINT_KM * TILE_PIXELS)
    left, right = at_180[:, :-pixels].astype(float), moved[:, pixels:].astype(float)
    assert np.abs(left - right).mean() < 8
    assert np.abs(at_180.astype(float) - moved).mean() > 3  # the comparison above could have failed


def test_pole_shows_what_lies_beyond_it(graticule):
    tile = graticule.tile(89.0, 0.0, scale=4)
    middle = TILE_PIXELS // 2
    _, above = read_place(tile[0, middle])
    _, below = read_place(tile[-1, middle])
    assert abs(abs(above) - 180) < 10
    assert abs(below) < 10


@pytest.mark.parametrize(
    ("lat", "lon", "expected"),
    [
        (46.0, 7.0, True),
        (-5.0, -60.0, True),
        (72.0, -40.0, True),
        (0.0, -150.0, False),
        (35.0, 18.0, False),
        (-1.0, 33.0, False),
        (42.0, 51.0, False),
    ],
)
def test_land_is_told_from_sea_and_lakes(lat, lon, expected):
    assert load_earth().is_land(np.array(lat), np.array(lon)) == expected


def test_three_tenths_of_the_earth_are_land():
    land = load_earth().land
    weight = np.cos(np.radians(90 - (np.arange(len(land)) + 0.5) / len(land) * 180))
    assert np.average(land.mean(axis=1), weights=weight) == pytest.approx(0.29, abs=0.01)
