"""A ranking as text for a terminal."""

from collections.abc import Sequence

from utils.answer import Answer, format_chance
from utils.decider import who_decides
from utils.decoding import METHODS
from utils.geography.discs import Region
from utils.geography.geodesy import geodesic_km


def distances_to(truth: tuple[float, float], answer: Answer) -> list[float]:
    """Geodesic km from ``truth`` (degrees) to each ranked candidate, best first."""
    return [float(geodesic_km(*truth, *place.point)) for place in answer.places]


def format_outcome(answer: Answer, truth: tuple[float, float] | None = None) -> str:
    """Candidates and answer; with ``truth`` (degrees) how far each is off."""
    distances = None if truth is None else distances_to(truth, answer)
    return f"{format_ranking(answer, distances)}\n\n{format_answer(answer, truth)}"


def format_ranking(answer: Answer, distances: Sequence[float] | None = None) -> str:
    """One line a candidate, best first; with the distance to the truth in km where it is known."""
    ranked = any(place.reward is not None for place in answer.places)
    heading = f"{'reward':>10}" if ranked else ""
    truth = f"{'to truth':>13}" if distances is not None else ""
    lines = [f"{'':>4}{'latitude':>12}{'longitude':>12}{heading}{'share':>9}{truth}  place"]
    for number, place in enumerate(answer.places, start=1):
        latitude, longitude = place.point
        reward = f"{place.reward:>10.3f}" if ranked else ""
        truth = f"{distances[number - 1]:>10,.1f} km" if distances is not None else ""
        lines.append(
            f"{number:>4}{latitude:>12.5f}{longitude:>12.5f}{reward}{100 * place.share:>8.1f}%{truth}  "
            f"{place.name} ({place.candidate.source})"
        )
    return "\n".join(lines)


def format_answer(answer: Answer, truth: tuple[float, float] | None = None) -> str:
    """The decoded place and what is known of it; with ``truth`` (degrees) how far it is off."""
    lines = [f"Prediction: {answer.latitude:.5f}, {answer.longitude:.5f}: {answer.place}"]
    if not answer.answered:
        asked = f"{100 * answer.demand.confidence:g}% within {answer.demand.within_km} km"
        lines = [f"Not sure: less than the {asked} that were demanded. The best candidate:", *lines]
    if answer.confidence is None:
        lines.append(f"Confidence: unknown; {answer.why_unknown}")
    else:
        stated = (f"{format_chance(chance)} within {radius} km" for radius, chance in answer.confidence.items())
        lines.append(f"Confidence: {', '.join(stated)}")
        lines += [f"Region that holds the truth {format_region(*item)}" for item in answer.regions.items()]
    if truth is not None:
        distance = distances_to(truth, answer)[answer.index]
        lines.append(f"Truth: {truth[0]:.5f}, {truth[1]:.5f}, {distance:,.1f} km from the prediction")
    return "\n".join([*lines, f"Decided by: {format_ranker(answer)}", f"Candidates: {'; '.join(answer.used)}"])


def format_ranker(answer: Answer) -> str:
    """Who decided, and how."""
    who = who_decides(answer.ranker, is_vote=answer.decode is None)
    return who if answer.decode is None else f"{who}, by {METHODS[answer.decode].words}"


def format_region(level: int, found: Region) -> str:
    """How often a region holds the truth, and how large it is."""
    discs = "one disc" if len(found.discs) == 1 else f"{len(found.discs)} discs"
    return f"{level}% of the time: {discs}, as large as one of {found.radius_km:,.0f} km radius"
