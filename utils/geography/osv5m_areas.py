"""The areas that a point lies in, by the labels of OpenStreetView-5M.

Its authors label a point after the nearest populated place that the package ``reverse_geocoder`` finds
(``metrics/utils.py`` and ``scripts/preprocessing`` of github.com/gastruc/osv5m): a country by its code, a region, a
sub-region and a city by their names with those of what they lie in. Labels equal theirs letter by letter only with that
package, so no other gazetteer takes its place; it is an extra, ``osv5m``.
"""

import numpy as np

PACKAGE = "reverse_geocoder"
LEVELS = ("country", "region", "sub-region", "city")  # from the largest to the smallest


def areas_of(points: np.ndarray) -> np.ndarray:
    """The labels (n, 4) by LEVELS of ``points`` (n, 2) in degrees; a name that is not known is empty in its label."""
    from reverse_geocoder import RGeocoder

    places = RGeocoder(mode=1, verbose=False).query([tuple(point) for point in points.tolist()])
    parts = ((place["name"], place["admin2"], place["admin1"], place["cc"]) for place in places)
    labels = [["_".join(names[start:]) for start in (3, 2, 1, 0)] for names in parts]
    return np.array(labels, dtype=object).reshape(-1, len(LEVELS))
