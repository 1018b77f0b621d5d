"""A ranking as text for a terminal."""

from collections.abc import Sequence

from utils.answer import format_chance
from utils.geography.discs import Region
from utils.geography.geodesy import geodesic_km
from utils.locating.ranking_task import Outcome


def distances_to(truth: tuple[float, float], outcome: Outcome) -> list[float]:
    """Geodesic km from ``truth`` (degrees) to each ranked candidate, best first."""
    return [float(geodesic_km(*truth, *point)) for point in outcome.points]


def format_outcome(outcome: Outcome, truth: tuple[float, float] | None = None) -> str:
    """The ranking, an empty line and the answer; with ``truth`` (degrees) how far each is off."""
    distances = None if truth is None else distances_to(truth, outcome)
    return f"{format_ranking(outcome, distances)}\n\n{format_answer(outcome, truth)}"


def format_ranking(outcome: Outcome, distances: Sequence[float] | None = None) -> str:
    """One line a candidate, best first; with the distance to the truth in km where it is known."""
    truth = f"{'to truth':>13}" if distances is not None else ""
    lines = [f"{'':>4}{'latitude':>12}{'longitude':>12}{'reward':>10}{'share':>9}{truth}  place"]
    for number, (ranked, name) in enumerate(zip(outcome.ranking, outcome.names, strict=True), start=1):
        candidate = ranked.candidate
        truth = f"{distances[number - 1]:>10,.1f} km" if distances is not None else ""
        lines.append(
            f"{number:>4}{candidate.latitude:>12.5f}{candidate.longitude:>12.5f}{ranked.reward:>10.3f}"
            f"{100 * ranked.share:>8.1f}%{truth}  {name} ({candidate.source})"
        )
    return "\n".join(lines)


def format_answer(outcome: Outcome, truth: tuple[float, float] | None = None) -> str:
    """The decoded place and what is known of it; with ``truth`` (degrees) how far it is off."""
    answer = outcome.answer
    lines = [f"Prediction: {answer.latitude:.5f}, {answer.longitude:.5f}: {answer.place}"]
    if not answer.answered:
        asked = f"{100 * answer.demand.confidence:g}% within {answer.demand.within_km} km"
        lines = [f"Not sure: less than the {asked} that were demanded. The best candidate:", *lines]
    if answer.confidence is None:
        lines.append(f"Confidence: unknown; {outcome.why_unknown}")
    else:
        stated = (f"{format_chance(chance)} within {radius} km" for radius, chance in answer.confidence.items())
        lines.append(f"Confidence: {', '.join(stated)}")
        lines += [f"Region that holds the truth {_format_region(*item)}" for item in answer.regions.items()]
    if truth is not None:
        distance = distances_to(truth, outcome)[outcome.index]
        lines.append(f"Truth: {truth[0]:.5f}, {truth[1]:.5f}, {distance:,.1f} km from the prediction")
    return "\n".join(lines)


def _format_region(level: int, found: Region) -> str:
    discs = "one disc" if len(found.discs) == 1 else f"{len(found.discs)} discs"
    return f"{level}% of the time: {discs}, as large as one of {found.radius_km:,.0f} km radius"
