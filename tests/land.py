"""Land and sea by the outlines as they are stored, without a map."""

import numpy as np
from matplotlib.path import Path

from utils.geography.outlines import outlines


def on_land(points):
    """(n,) whether [longitude, latitude] points (n, 2) lie within an odd number of rings."""
    inside = np.zeros(len(points), int)
    for ring in outlines().land:
        if not np.allclose(ring[0], ring[-1]):
            ring = np.vstack([ring, (ring[-1, 0], -90), (ring[0, 0], -90)])
        for shift in (-360, 0, 360):
            shifted = np.add(points, (shift, 0))
            near = np.flatnonzero(((shifted >= ring.min(0)) & (shifted <= ring.max(0))).all(1))
            if len(near):
                inside[near] += Path(ring).contains_points(shifted[near])
    return inside % 2 == 1
