"""The projections against matplotlib's, and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.projections.geo import LambertAxes

from utils.figures.projections import EqualArea, PlateCarree
from utils.geography.geodesy import haversine_km

RADIUS_KM = 6371.0088
latitudes, longitudes = st.floats(-90, 90), st.floats(-180, 180)


@given(latitudes, longitudes, latitudes, longitudes)
def test_a_close_up_is_lamberts(middle_latitude, middle_longitude, latitude, longitude):
    if haversine_km(middle_latitude, middle_longitude, latitude, longitude) > 19_000:
        return  # both are ill-conditioned at the antipode
    theirs = LambertAxes.LambertTransform(np.radians(middle_longitude), np.radians(middle_latitude), 1)
    expected = RADIUS_KM * theirs.transform_non_affine(np.radians([[longitude, latitude]]))[0]
    assert EqualArea(middle_latitude, middle_longitude).project(latitude, longitude) == pytest.approx(
        expected, abs=0.01
    )


@given(latitudes, longitudes, st.floats(-8000, 8000), st.floats(-4000, 4000))
def test_places_come_back(latitude, longitude, x, y):
    for projection in (EqualArea(latitude, longitude), PlateCarree(longitude)):
        assert projection.project(*projection.unproject(x, y)) == pytest.approx((x, y), abs=1e-5)


@pytest.mark.parametrize("middle", [(90.0, 0.0), (-90.0, 50.0), (0.0, 180.0), (46.0, -180.0)])
def test_lengths_are_true_around_the_middle(middle):
    here = EqualArea(*middle)
    x, y = 30 * np.cos(np.arange(12)), 30 * np.sin(np.arange(12))
    assert haversine_km(*middle, *here.unproject(x, y)) == pytest.approx(np.full(12, 30), rel=1e-4)


def test_the_antipode_is_somewhere():
    assert np.isfinite(EqualArea(10, 20).project(-10, -160)).all()
