"""What a page says of an answer, in the words of ``utils/locating/listing.py`` and no stronger ones."""

from collections.abc import Mapping

from utils.answer import Answer, Demand, format_chance
from utils.locating.listing import format_region
from utils.locating.locations import CONFIDENCE_KM

SOURCES = {
    "retrieval": "similar photo",
    "generation": "guess",
    "geoclip": "GeoCLIP's point",
    "csv": "place of the list",
    "list": "place of the list",
}


def verdict(
    place: str,
    confidence: Mapping[int, float] | None,
    answered: bool | None,
    demand: Demand | None = None,
) -> dict[str, str]:
    """``state`` (likely, unlikely, unsure, unknown), and what is said ``before``, as and ``below`` the ``title``.

    The arguments are those of an ``Answer``, or what is known of them.
    """
    if answered is False:
        asked = (
            "what was"
            if demand is None
            else f"the {100 * demand.confidence:g}% within {demand.within_km:,} km that were"
        )
        below = f"Less sure than {asked} demanded. The best candidate: {place}."
        return {"state": "unsure", "before": "No answer", "title": "Not sure", "below": below}
    said = {"title": place, "below": ""}
    if confidence is None:
        # The page says why further below, once.
        return said | {"state": "unknown", "before": "The best candidate", "below": "How sure this is, is unknown."}
    radius = next((radius for radius, chance in confidence.items() if chance >= 0.5), None)
    if radius is None:
        furthest = max(confidence)
        before = f"The best candidate; {format_chance(confidence[furthest])} within {furthest:,} km of this point"
        return said | {"state": "unlikely", "before": before}
    before = f"Probably within {radius:,} km of this point ({format_chance(confidence[radius])})"
    return said | {"state": "likely", "before": before}


def problem(name: str, why: str) -> dict[str, str]:
    """Where the photo of that name has no answer."""
    return {"state": "problem", "before": "This photo has no place", "title": name, "below": why}


def briefly(confidence: Mapping[int, float] | None, answered: bool | None) -> str:
    """The same in some words, for a list."""
    if answered is False:
        return "not sure"
    return (
        f"{format_chance(confidence[CONFIDENCE_KM])} within {CONFIDENCE_KM} km" if confidence else "confidence unknown"
    )


def chances(confidence: Mapping[int, float]) -> list[dict[str, object]]:
    """One for each radius."""
    return [{"km": km, "chance": chance, "text": format_chance(chance)} for km, chance in confidence.items()]


def regions(answer: Answer) -> list[str]:
    """One sentence for each level."""
    return [f"Holds the truth {format_region(*item)}" for item in (answer.regions or {}).items()]


def source(name: str) -> str:
    """Where a candidate comes from."""
    return SOURCES.get(name, name)
