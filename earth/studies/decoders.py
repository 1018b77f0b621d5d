"""How to choose among decoders: what is tried, on which queries, and by which accuracy."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from utils.decoding import Decoder
from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.metrics import accuracy

# What is tried, on validation queries only.
SCALES_KM = (25, 50, 100, 200, 400, 800, 1600, 3200)
POWERS = (0.5, 1.0, 2.0, 4.0, 8.0)
# What it is chosen by: the mean accuracy at these distances. Within 1 km hardly any query of Earth has a candidate.
CHOSEN_BY_KM = (25, 200, 750, 2500)


def errors(decoder: Decoder, cases: Sequence[Case]) -> np.ndarray:
    """(cases,) km between truth and answer."""
    return picked_errors(cases, np.array([decoder.pick(case.evidence) for case in cases]))


def goodness(distances: np.ndarray) -> float:
    """Mean accuracy (percent) over ``CHOSEN_BY_KM``."""
    return float(accuracy(distances, CHOSEN_BY_KM).mean())


def choose(cases: Sequence[Case], grid: Iterable[Decoder]) -> tuple[Decoder, list[tuple[Decoder, float]]]:
    """The best decoder of ``grid`` on ``cases``, the first of equals, and how good each one is."""
    found = [(decoder, goodness(errors(decoder, cases))) for decoder in grid]
    return max(found, key=lambda entry: entry[1])[0], found


def check_apart(validation_path: Path, validation: Sequence[Case], test_path: Path, test: Sequence[Case]) -> None:
    """Raise ``ValueError`` where queries of ``test`` are among those that decoders are chosen on."""
    both = {case.query.image for case in validation} & {case.query.image for case in test}
    if both:
        raise ValueError(f"{validation_path} and {test_path} share {len(both)} queries, such as {min(both)}")


def print_grid(name: str, found: Sequence[tuple[Decoder, float]]) -> None:
    """What ``choose`` has tried: a line for each weighting, a column for each scale of the consensus."""
    lines: dict[str, list[str]] = {}
    for decoder, value in found:
        weighting = f"similarity weight {decoder.similarity_weight:.3g}, temperature {decoder.temperature:.3g}"
        scale = "highest score" if decoder.scale_km is None else f"{decoder.scale_km} km"
        lines.setdefault(f"{weighting}, power {decoder.power:g}", []).append(f"{scale} {value:.2f}")
    print(f"{name}: mean accuracy on validation at {', '.join(map(str, CHOSEN_BY_KM))} km")
    for weighting, cells in lines.items():
        print(f"  {weighting}: {', '.join(cells)}")
