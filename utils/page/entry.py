"""What a page tells of one photo, ready for JSON: the page's script fills it in, logs and sessions keep it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from utils.answer import Answer, Place
from utils.locating.listing import distances_to, format_ranker
from utils.locating.results import ranking_json
from utils.page import words
from utils.page.links import links
from utils.page.made import made
from utils.page.pictures import Sizes, picture
from utils.photos.images import ImageError

Entry = Mapping[str, Any]
Point = tuple[float, float]  # (latitude, longitude) in degrees


@dataclass(frozen=True)
class Located:
    """A photo and what was found of it."""

    name: str  # what the page calls it
    found: Answer | ValueError  # or what keeps an answer away
    photo: Image.Image | None = None  # upright RGB; None where it cannot be read
    truth: Point | None = None  # where it is known


def entry(located: Located, sizes: Sizes | None = None) -> Entry:
    """What a page tells of a photo; ``sizes`` are those of its pictures, by default of a page of its own."""
    sizes = sizes or Sizes.of(1)
    photo = located.photo and _picture(located.photo, sizes.photo)
    about = {"name": located.name, "photo": photo, "made": made()}
    if isinstance(located.found, ValueError):
        why = str(located.found)
        return about | {"verdict": words.problem(why), "said": "no place", "ranking": {"photo": located.name, "problem": why}}
    answer = located.found
    return about | {
        "verdict": words.verdict(answer),
        "said": words.briefly(answer.confidence, answer.answered),
        "ranking": ranking_json(answer, {"photo": located.name}, located.truth),
        "answer": answer.index,
        "point": format_point((answer.latitude, answer.longitude)),
        "truth": located.truth and format_point(located.truth),
        "chances": words.chances(answer.confidence or {}),
        "regions": words.regions(answer),
        "candidates": _candidates(answer, located.truth, sizes),
        "links": links(answer.latitude, answer.longitude),
        "has_gps": answer.has_gps,
        "problems": list(answer.problems),
        "decided": format_ranker(answer),
    }


def format_point(point: Point) -> str:
    """Degrees as people write them."""
    latitude, longitude = point
    return f"{abs(latitude):.4f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.4f}° {'W' if longitude < 0 else 'E'}"


def _candidates(answer: Answer, truth: Point | None, sizes: Sizes) -> list[dict[str, Any]]:
    """What the ranking's candidates lack for a reader."""
    distances: Sequence[float | None] = [None] * len(answer.places) if truth is None else distances_to(truth, answer)
    return [
        {
            "point": format_point(place.point),
            "source": words.source(place.candidate.source),
            "share": f"{100 * place.share:.1f}%",
            "reward": None if place.reward is None else f"{place.reward:.3f}",
            "to_truth": None if distance is None else f"{distance:,.1f} km",
            "photo": _own_photo(place, sizes.evidence) if number < sizes.candidates else None,
        }
        for number, (place, distance) in enumerate(zip(answer.places, distances, strict=True))
    ]


def _own_photo(place: Place, side: int) -> dict[str, Any] | None:
    """None also where it is gone since it was compared."""
    if place.photo is None:
        return None
    try:
        return _picture(place.photo(), side)
    except ImageError:
        return None


def _picture(image: Image.Image, side: int) -> dict[str, Any]:
    return {"uri": picture(image, side), "width": image.width, "height": image.height}
