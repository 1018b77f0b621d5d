"""What a page tells of one photo, ready for JSON: the page's script fills it in, logs and sessions keep it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from utils.answer import Answer, Place
from utils.locating.listing import distances_to, format_ranker
from utils.locating.locations import CONFIDENCE_KM, Location
from utils.locating.results import ranking_json
from utils.page import words
from utils.page.links import links, web_address
from utils.page.made import made
from utils.page.pictures import Sizes, picture
from utils.photos.credit import Credit
from utils.photos.images import ImageError

FORMAT = 2  # of entries: those of another one are not shown
NO_PLACE = "no place"
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
    about = {"format": FORMAT, "name": located.name, "photo": photo, "made": made()}
    if isinstance(located.found, ValueError):
        why = str(located.found)
        ranking = {"photo": located.name, "problem": why}
        return about | {"verdict": words.problem(located.name, why), "said": NO_PLACE, "ranking": ranking}
    answer = located.found
    return about | {
        "verdict": words.verdict(answer.place, answer.confidence, answer.answered, answer.demand),
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


def entry_of_row(row: Location, photo: Image.Image | None, sizes: Sizes) -> Entry:
    """The same of a row of a table of locations, which says less."""
    about = {
        "format": FORMAT,
        "name": row.file,
        "photo": photo and _picture(photo, sizes.photo),
        "made": None,
        "problems": [row.problem] if row.problem else [],
    }
    if row.latitude is None:
        ranking = {"photo": row.file, "problem": row.problem}
        return about | {"verdict": words.problem(row.file, row.problem), "said": NO_PLACE, "ranking": ranking}
    confidence = None if row.confidence is None else {CONFIDENCE_KM: row.confidence}
    return about | {
        "verdict": words.verdict(row.place, confidence, row.answered),
        "said": words.briefly(confidence, row.answered),
        "point": format_point((row.latitude, row.longitude)),
        "chances": words.chances(confidence or {}),
        "links": links(row.latitude, row.longitude),
        "ranking": {
            "photo": row.file,
            "prediction": {"latitude": row.latitude, "longitude": row.longitude, "place": row.place},
            "confidence": confidence,
            "answered": row.answered,
        },
    }


def format_point(point: Point) -> str:
    """Degrees as people write them."""
    latitude, longitude = point
    return f"{abs(latitude):.4f}° {'S' if latitude < 0 else 'N'}, {abs(longitude):.4f}° {'W' if longitude < 0 else 'E'}"


def _candidates(answer: Answer, truth: Point | None, sizes: Sizes) -> list[dict[str, Any]]:
    """What the ranking's candidates lack for a reader."""
    distances: Sequence[float | None] = [None] * len(answer.places) if truth is None else distances_to(truth, answer)
    photos = [_own_photo(place, sizes.evidence) for place in answer.places[: sizes.candidates]]
    photos += [None] * (len(answer.places) - len(photos))
    return [
        {
            "point": format_point(place.point),
            "source": words.source(place.candidate.source),
            "share": f"{100 * place.share:.1f}%",
            "reward": None if place.reward is None else f"{place.reward:.3f}",
            "to_truth": None if distance is None else f"{distance:,.1f} km",
            "photo": photo,
            "credit": photo and place.credit and _credit(place.credit),
        }
        for place, distance, photo in zip(answer.places, distances, photos, strict=True)
    ]


def _credit(credit: Credit) -> list[dict[str, str | None]]:
    """What is said under a photo: author, source and licence, each with the address that it leads to."""
    source = web_address(credit.source)
    said = [
        (credit.known_author, None),
        (credit.source if source is None else urlsplit(source).hostname, source),
        (credit.known_licence, web_address(credit.licence_url)),
    ]
    return [{"name": name, "url": url} for name, url in said if name]


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
