"""What a page says of an answer, in the words of ``utils/locating/listing.py`` and no stronger ones."""

from collections.abc import Mapping

from utils.answer import Answer, Demand, format_chance
from utils.locating.listing import format_region
from utils.locating.locations import CONFIDENCE_KM

SOURCES = {"retrieval": "similar photo", "generation": "guess", "geoclip": "GeoCLIP's point"}


def verdict(answer: Answer) -> dict[str, str]:
    """``state`` (``likely``, ``unlikely``, ``unsure``, ``unknown``), and what is said before, as and below the title."""
    if answer.answered is False:
        return unsure(answer.place, answer.demand)
    if answer.confidence is None:
        return unknown(answer.place, answer.why_unknown)
    radius = likely_within(answer.confidence)
    furthest = max(answer.confidence)
    if radius is None:
        before = f"The best candidate, which is less likely than not within {furthest:,} km"
        return {"state": "unlikely", "before": before, "title": _title(answer.place), "below": ""}
    return {
        "state": "likely",
        "before": f"Probably within {radius:,} km of this point",
        "title": _title(answer.place),
        "below": f"Within {radius:,} km: {format_chance(answer.confidence[radius])}.",
    }


def unsure(place: str, demand: Demand | None) -> dict[str, str]:
    """Where an answer is less sure than was demanded."""
    asked = "what was" if demand is None else f"the {100 * demand.confidence:g}% within {demand.within_km:,} km that were"
    return {
        "state": "unsure",
        "before": "No answer",
        "title": "Not sure",
        "below": f"Less sure than {asked} demanded. The best candidate: {place}.",
    }


def unknown(place: str, why: str) -> dict[str, str]:
    """Where nothing is known of how sure an answer is."""
    below = f"How sure this is, is unknown: {why}." if why else "How sure this is, is unknown."
    return {"state": "unknown", "before": "The best candidate", "title": _title(place), "below": below}


def problem(why: str) -> dict[str, str]:
    """Where there is no answer."""
    return {"state": "problem", "before": "No answer", "title": "This photo has no place", "below": why}


def briefly(confidence: Mapping[int, float] | None, answered: bool | None) -> str:
    """The same in some words, for a list."""
    if answered is False:
        return "not sure"
    return f"{format_chance(confidence[CONFIDENCE_KM])} within {CONFIDENCE_KM} km" if confidence else "unknown"


def likely_within(confidence: Mapping[int, float]) -> int | None:
    """The smallest radius (km) within which the truth lies rather than not."""
    return next((radius for radius, chance in confidence.items() if chance >= 0.5), None)


def chances(confidence: Mapping[int, float]) -> list[dict[str, object]]:
    """One for each radius."""
    return [{"km": km, "chance": chance, "text": format_chance(chance)} for km, chance in confidence.items()]


def regions(answer: Answer) -> list[str]:
    """One sentence for each level."""
    return [f"Holds the truth {format_region(*item)}" for item in (answer.regions or {}).items()]


def source(name: str) -> str:
    """Where a candidate comes from."""
    return SOURCES.get(name, name)


def _title(place: str) -> str:
    return place[:1].upper() + place[1:]
