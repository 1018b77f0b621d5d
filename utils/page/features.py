"""The places of a page as features, of which its GeoJSON and its KML are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from utils.geography.discs import Disc
from utils.geography.rings import Ring, disc_polygons


@dataclass(frozen=True)
class Feature:
    """Something on a map: a point, or polygons."""

    name: str
    kind: str  # answer, truth, candidate, or region
    point: tuple[float, float] | None = None  # (longitude, latitude) in degrees
    polygons: Sequence[Sequence[Ring]] = ()  # each its outer ring, then holes
    properties: Mapping[str, Any] = field(default_factory=dict)  # ready for JSON


def features(rankings: Sequence[Mapping[str, Any]]) -> list[Feature]:
    """Of what ``ranking.json`` holds of each photo: of several the answers, of one its candidates and regions, too."""
    found = [feature for ranking in rankings for feature in _answer(ranking)]
    if len(rankings) == 1 and "candidates" in rankings[0]:
        (ranking,) = rankings
        found += [_candidate(number, place) for number, place in enumerate(ranking["candidates"], start=1)]
        found += [_region(level, region) for level, region in (ranking["regions"] or {}).items()]
    return found


def _answer(ranking: Mapping[str, Any]) -> list[Feature]:
    """Answer and truth, as far as there are any."""
    found = []
    if ranking.get("prediction"):
        known = ("confidence", "answered", "ranker")
        more = {name: ranking[name] for name in known if name in ranking} | {"place": ranking["prediction"]["place"]}
        found.append(Feature(ranking["photo"], "answer", _point(ranking["prediction"]), properties=more))
    if ranking.get("truth"):
        found.append(Feature(f"{ranking['photo']}: truth", "truth", _point(ranking["truth"])))
    return found


def _candidate(number: int, place: Mapping[str, Any]) -> Feature:
    more = {name: place[name] for name in ("share", "reward", "source", "image", "credit")} | {"rank": number}
    return Feature(f"{number}: {place['place']}", "candidate", _point(place), properties=more)


def _region(level: str, region: Mapping[str, Any]) -> Feature:
    discs = [Disc(disc["latitude"], disc["longitude"], disc["radius_km"]) for disc in region["discs"]]
    polygons = [polygon for disc in discs for polygon in disc_polygons(disc)]
    more = {"percent": int(level), "area_km2": region["area_km2"]}
    return Feature(f"holds the truth {level}% of the time", "region", polygons=polygons, properties=more)


def _point(place: Mapping[str, Any]) -> tuple[float, float]:
    return place["longitude"], place["latitude"]
