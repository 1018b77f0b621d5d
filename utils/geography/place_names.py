"""What a place is called: by its own names, or by the nearest town."""

from collections.abc import Mapping, Sequence

from utils.geography.gazetteer import Gazetteer
from utils.geography.geodesy import Coordinate

AT_KM = 5.0  # so near to its middle, a place is called like the town


def place_names(points: Sequence[Coordinate], texts: Sequence[Sequence[str]]) -> list[str]:
    """One name for each of ``points`` (n,), degrees: its own ``texts`` (n,), or where it has none the nearest town.

    From ``AT_KM`` on a town's name comes with the distance: "61 km from Hay River, Canada". That holds for a place's
    own texts, too, where they are just city, state and country of the nearest town, as ``Gazetteer`` finds them: it has
    named the place. Other texts stand as they are. They name areas, as in MP16-Pro, and the place lies within them, or
    are words of the caller's.
    """
    towns = Gazetteer().lookup(*zip(*points, strict=True)).to_dict("records")
    return [_name(tuple(filter(None, names)), town) for names, town in zip(texts, towns, strict=True)]


def _name(own: tuple[str, ...], town: Mapping) -> str:
    of_town = tuple(filter(None, (town["city"], town["state"], town["country"])))
    name = ", ".join(own or (town["city"], town["country"]))
    if own not in ((), of_town) or town["distance_km"] < AT_KM:
        return name
    return f"{town['distance_km']:,.0f} km from {name}"
