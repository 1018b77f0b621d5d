"""What an answer is: a place, how sure it is, and whether that is enough. Text, JSON, map and table are made of it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

from utils.calibration import Calibration, Outlook
from utils.candidates import Candidate
from utils.geography.discs import Region
from utils.geography.geodesy import THRESHOLDS_KM
from utils.photos.credit import Credit


@dataclass(frozen=True)
class Demand:
    """How sure an answer has to be: of lying within ``within_km`` with a probability of ``confidence`` (0 to 1)."""

    confidence: float
    within_km: int  # one of THRESHOLDS_KM

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1 or self.within_km not in THRESHOLDS_KM:
            known = ", ".join(map(str, THRESHOLDS_KM))
            raise ValueError(f"{self}: confidence lies between 0 and 1, within_km is one of {known}")

    @classmethod
    def of(cls, confidence: float | None, within_km: int) -> "Demand | None":
        """None where no confidence is demanded."""
        return None if confidence is None else cls(confidence, within_km)


class NothingKnown(ValueError):
    """Something is demanded of an answer of which nothing is known."""


@dataclass(frozen=True)
class Place:
    """A candidate that was ranked."""

    candidate: Candidate
    name: str  # of the place
    reward: float | None  # higher is nearer; None where no ranker scored it
    share: float  # of the candidates of its photo, which have 1; no probability of the truth
    # Opens its own photo once more, which was compared; None where it has none. No part of the results.
    photo: Callable[[], Image.Image] | None = field(default=None, repr=False, compare=False)
    credit: Credit | None = None  # whose its own photo is; None: not known

    @property
    def point(self) -> tuple[float, float]:
        """(latitude, longitude) in degrees."""
        return self.candidate.latitude, self.candidate.longitude


@dataclass(frozen=True)
class Answer:
    """The decoded place of one photo, and what is known of it without the truth."""

    latitude: float  # degrees
    longitude: float
    place: str  # its name, or how far it is from which town
    candidate: Candidate
    confidence: Mapping[int, float] | None  # probability that the truth lies within so many km; None: unknown
    regions: Mapping[int, Region] | None  # percent -> region that holds the truth so often; None: unknown
    answered: bool | None  # False: less sure than was demanded; None: that is not known
    demand: Demand | None = None  # None: nothing was demanded
    why_unknown: str = ""  # why confidence and regions are None
    places: tuple[Place, ...] = ()  # all candidates, best first
    ranker: str = ""  # who decided: an adapter's folder, or the name of a vote
    decode: str | None = None  # how its rewards were decoded; None: it is a vote
    used: tuple[str, ...] = ()  # in words, where the candidates came from
    notes: tuple[str, ...] = ()  # what else there is to know
    problems: tuple[str, ...] = ()  # what could not be used
    has_gps: bool = False  # whether the photo says where it was taken, which nobody reads; no part of the results

    @property
    def index(self) -> int:
        """Which of ``places`` it is."""
        return next(number for number, place in enumerate(self.places) if place.candidate is self.candidate)

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON: the answer, what is known of it, what it was made of, and ``candidates``, best first."""
        return {
            "decode": self.decode,
            "ranker": self.ranker,
            "used": list(self.used),
            "notes": list(self.notes),
            "prediction": {
                "latitude": self.latitude,
                "longitude": self.longitude,
                "place": self.place,
                "image": self.candidate.image,
                "source": self.candidate.source,
            },
            "confidence": self.confidence and {str(radius): chance for radius, chance in self.confidence.items()},
            "regions": self.regions and {str(level): _region(found) for level, found in self.regions.items()},
            "answered": self.answered,
            "demand": self.demand and asdict(self.demand),
            "why_unknown": self.why_unknown or None,
            "candidates": [
                {
                    "latitude": place.candidate.latitude,
                    "longitude": place.candidate.longitude,
                    "reward": place.reward,
                    "share": place.share,
                    "place": place.name,
                    "image": place.candidate.image,
                    "source": place.candidate.source,
                    "credit": place.credit and place.credit.as_json(),
                }
                for place in self.places
            ],
        }


def answer(
    candidate: Candidate,
    place: str,
    known: Outlook,
    calibration: Calibration | None,
    demand: Demand | None = None,
    why_unknown: str = "",
) -> Answer:
    """``candidate`` as the answer; without a ``calibration`` nothing is stated of it, and ``why_unknown`` says why.

    Raises ``NothingKnown`` where something is demanded then.
    """
    if calibration is None:
        if demand is not None:
            raise NothingKnown(f"no confidence can be asked for: {why_unknown}")
        return Answer(
            candidate.latitude, candidate.longitude, place, candidate, None, None, True, why_unknown=why_unknown
        )
    stated = calibration.confidence(known)
    return Answer(
        candidate.latitude,
        candidate.longitude,
        place,
        candidate,
        stated,
        calibration.regions(known),
        demand is None or stated[demand.within_km] >= demand.confidence,
        demand,
    )


def _region(found: Region) -> dict[str, Any]:
    discs = [
        {"latitude": disc.latitude, "longitude": disc.longitude, "radius_km": round(disc.radius_km, 1)}
        for disc in found.discs
    ]
    return {"area_km2": round(found.area_km2, 1), "discs": discs}


def format_chance(chance: float) -> str:
    """A probability (0 to 1) in words that do not claim more than is known."""
    if chance < 0.01:
        return "hardly ever"
    return "nearly always" if chance > 0.99 else f"{100 * chance:.0f}%"
