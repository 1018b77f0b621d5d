"""Labels as the authors of OSV-5M give them, by the package that they use."""

import numpy as np
import reverse_geocoder

from utils.geography.osv5m_areas import areas_of


def theirs(point):
    """The labels as ``reverse`` in the authors' metrics/utils.py joins them."""
    (found,) = reverse_geocoder.search([tuple(point)], mode=1, verbose=False)
    cc, admin1, admin2, name = (found[key] for key in ("cc", "admin1", "admin2", "name"))
    return [cc, f"{admin1}_{cc}", f"{admin2}_{admin1}_{cc}", f"{name}_{admin2}_{admin1}_{cc}"]


def test_labels_are_those_of_the_authors():
    points = np.array([[48.8584, 2.2945], [-43.80477, -176.61409], [-22.57, 17.08], [0.0, -160.0]])
    assert areas_of(points).tolist() == [theirs(point) for point in points]
    assert areas_of(points)[:3, 0].tolist() == ["FR", "NZ", "NA"]
    chatham = ["NZ", "Chatham Islands_NZ", "_Chatham Islands_NZ", "Waitangi__Chatham Islands_NZ"]
    assert areas_of(points)[1].tolist() == chatham
