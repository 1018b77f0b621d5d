"""What a place is called: by its own names, or by the nearest town."""

from collections.abc import Sequence

from utils.geography.gazetteer import Gazetteer
from utils.geography.geodesy import Coordinate


def place_names(points: Sequence[Coordinate], texts: Sequence[Sequence[str]]) -> list[str]:
    """One name for each of ``points`` (n,), degrees: its own ``texts`` (n,), or where it has none the nearest town."""
    towns = Gazetteer().lookup(*zip(*points, strict=True)).to_dict("records")
    return [
        ", ".join(filter(None, names)) or f"{town['distance_km']:.0f} km from {town['city']}, {town['country']}"
        for names, town in zip(texts, towns, strict=True)
    ]
