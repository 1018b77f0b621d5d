"""What the interface answers, for its description: ``ranking.json`` and the little around it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from utils.web.jobs import Stage


class Answered(BaseModel):
    """Nothing is there that is not described."""

    model_config = ConfigDict(extra="forbid")


class Point(Answered):
    """Degrees."""

    latitude: float
    longitude: float


class Prediction(Point):
    """The answer; ``image`` is the candidate's own photo, ``source`` where the candidate comes from."""

    place: str
    image: str | None
    source: str


class Credit(Answered):
    """Whose a photo is; a text is empty where it is not known."""

    author: str
    licence: str
    licence_url: str
    source: str


class Ranked(Prediction):
    """A candidate; ``share`` is a part of what all have together, no probability of the truth.

    ``credit`` is that of ``image``, null where it is not known.
    """

    reward: float | None
    share: float
    credit: Credit | None


class Disc(Point):
    radius_km: float


class Region(Answered):
    area_km2: float
    discs: list[Disc]


class Demanded(Answered):
    confidence: float
    within_km: int


class Ranking(Answered):
    """A photo's place, as ``quick_start.py`` writes it into ranking.json.

    ``confidence``: km -> probability that the photo was taken within so many of the prediction; ``regions``: percent ->
    region that holds the truth so often; both null where ``why_unknown`` says why. ``answered`` is false where that is
    less than was demanded. ``candidates`` are the best first.
    """

    photo: str
    decode: str | None
    ranker: str
    used: list[str]
    notes: list[str]
    prediction: Prediction
    confidence: dict[str, float] | None
    regions: dict[str, Region] | None
    answered: bool | None
    demand: Demanded | None
    why_unknown: str | None
    candidates: list[Ranked]


class JobState(Answered):
    """A photo on its way; ``before``: so many are located before it.

    Where it failed ``error`` says why, and ``retry`` whether the same photo may be located if it is sent again.
    """

    id: str
    stage: Stage
    before: int
    error: str | None = None
    retry: bool = False


class Health(Answered):
    status: Literal["ok"]
    waiting: int


class Options(Answered):
    """What the fields of a form may be; ``generate`` and ``demand`` are what holds without them.

    ``within`` is empty where how sure an answer is cannot be known: then there is no ``min_confidence`` either.
    ``sent_to`` is the model of a server that gets the photos, too; ``kept``: the app writes them to its disk.
    """

    sources: dict[str, list[str]]
    decode: list[str]
    generate: int | None
    most_guesses: int
    demand: Demanded | None
    within: list[int]
    decides: list[str]
    sent_to: str | None
    kept: bool
    most_upload_bytes: int
    most_pixels: int


class Error(Answered):
    error: str
