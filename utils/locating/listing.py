"""A ranking as text for a terminal."""

from collections.abc import Sequence

from utils.geography.geodesy import geodesic_km
from utils.locating.ranking_task import Outcome


def distances_to(truth: tuple[float, float], outcome: Outcome) -> list[float]:
    """Geodesic km from ``truth`` (degrees) to each ranked candidate, best first."""
    return [float(geodesic_km(*truth, *point)) for point in outcome.points]


def format_ranking(outcome: Outcome, distances: Sequence[float] | None = None) -> str:
    """One line a candidate, best first; with the distance to the truth in km where it is known."""
    truth = f"{'to truth':>13}" if distances is not None else ""
    lines = [f"{'':>4}{'latitude':>12}{'longitude':>12}{'reward':>10}{'probability':>13}{truth}  place"]
    for number, (ranked, name) in enumerate(zip(outcome.ranking, outcome.names, strict=True), start=1):
        candidate = ranked.candidate
        truth = f"{distances[number - 1]:>10,.1f} km" if distances is not None else ""
        lines.append(
            f"{number:>4}{candidate.latitude:>12.5f}{candidate.longitude:>12.5f}{ranked.reward:>10.3f}"
            f"{100 * ranked.probability:>12.1f}%{truth}  {name} ({candidate.source})"
        )
    return "\n".join(lines)


def format_answer(outcome: Outcome, truth: tuple[float, float] | None = None) -> str:
    """The decoded place and its confidence; with ``truth`` (degrees) how far it is off."""
    answer = outcome.answer
    stated = (f"{100 * mass:.0f}% within {radius} km" for radius, mass in answer.confidence.items())
    lines = [
        f"Prediction: {answer.latitude:.5f}, {answer.longitude:.5f}: {outcome.names[answer.index]}",
        f"Confidence: {', '.join(stated)}",
    ]
    if truth is not None:
        distance = distances_to(truth, outcome)[answer.index]
        lines.append(f"Truth: {truth[0]:.5f}, {truth[1]:.5f}, {distance:,.1f} km from the prediction")
    return "\n".join(lines)
