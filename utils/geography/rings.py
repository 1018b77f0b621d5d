"""Discs on the Earth as polygons in degrees, cut at the antimeridian as GeoJSON demands (RFC 7946, section 3.1.9)."""

import math
from collections.abc import Sequence

import numpy as np

from utils.geography.discs import Disc
from utils.geography.geodesy import EARTH_RADIUS_KM

CORNERS = 72
WORLD = [(-180.0, -90.0), (180.0, -90.0), (180.0, 90.0), (-180.0, 90.0)]

Ring = list[tuple[float, float]]  # (longitude, latitude) in degrees, counter-clockwise, the first one not repeated


def disc_polygons(disc: Disc) -> list[list[Ring]]:
    """Polygons that are ``disc`` together: each its outer ring and, where it has one, a hole (clockwise).

    The edge has ``CORNERS`` corners, which lie on it: straight lines on a map of degrees between them are a little
    inside of it. A disc across the antimeridian is two polygons, one that holds a pole reaches to the map's edge there.
    """
    angle = disc.radius_km / EARTH_RADIUS_KM
    if angle >= math.pi:
        return [[WORLD]]
    edge = _edge(disc, angle)
    to_north, to_south = math.radians(90 - disc.latitude), math.radians(90 + disc.latitude)
    if angle > max(to_north, to_south):  # it holds both poles, and lacks a disc around the place opposite
        holes = [_cut(edge, shift) for shift in (-360, 0, 360)]
        return [[WORLD, *[hole for hole in holes if hole]]]
    if angle > min(to_north, to_south):
        pole = 90.0 if to_north < to_south else -90.0
        edge = [*edge, (edge[-1][0], pole), (edge[0][0], pole)]
    parts = [_cut(edge, shift) for shift in (-360, 0, 360)]
    return [[part] for part in parts if part]


def _edge(disc: Disc, angle: float) -> Ring:
    """Counter-clockwise; longitudes go on beyond 180. One that goes around a pole has its first corner again."""
    bearing = -2 * np.pi * np.arange(CORNERS + 1) / CORNERS
    up = math.radians(disc.latitude)
    north = np.arcsin(np.clip(math.sin(up) * math.cos(angle) + math.cos(up) * math.sin(angle) * np.cos(bearing), -1, 1))
    east = np.arctan2(np.sin(bearing) * math.sin(angle) * math.cos(up), math.cos(angle) - math.sin(up) * np.sin(north))
    longitude = np.degrees(np.unwrap(east)) + disc.longitude
    corners = list(zip(longitude.tolist(), np.degrees(north).tolist(), strict=True))
    closed = abs(longitude[-1] - longitude[0]) < 180
    return corners[:-1] if closed else corners


def _cut(ring: Ring, shift: float) -> Ring:
    """The part of a ring, moved by ``shift`` degrees, that lies between -180 and 180; empty where none does."""
    moved = [(longitude + shift, latitude) for longitude, latitude in ring]
    west = _clipped(moved, -180.0, 1)
    return _clipped(west, 180.0, -1)


def _clipped(ring: Sequence[tuple[float, float]], limit: float, side: int) -> Ring:
    """Sutherland and Hodgman (1974) with one meridian: what is east (``side`` 1) or west (-1) of it."""
    kept: Ring = []
    for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], *ring[:1]], strict=True):
        inside0, inside1 = (x0 - limit) * side >= 0, (x1 - limit) * side >= 0
        if inside0:
            kept.append((x0, y0))
        if inside0 != inside1:
            kept.append((limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)))
    return kept if any((x - limit) * side > 0 for x, _ in kept) else []
