"""What a request may choose, of what the app was started with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from utils.answer import Demand
from utils.decoding import METHODS
from utils.geography.geodesy import THRESHOLDS_KM
from utils.locating.variation import KINDS
from utils.web.problems import Problem

MOST_GUESSES = 16
Kind = Literal[tuple(KINDS)]
Method = Literal[tuple(METHODS)]


def _numbered(value: Any) -> Any:
    """The number in a form's text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value


class Settings(BaseModel):
    """The fields of a form beside its photo; what is left out is as the app was started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[Kind] | None = Field(
        None, min_length=1, description="where candidates come from; given several times for several"
    )
    generate: int | None = Field(None, ge=0, le=MOST_GUESSES, description="so many guesses as candidates")
    decode: Method | None = Field(None, description="how a ranker's rewards become one place")
    min_confidence: float | None = Field(None, ge=0, le=1, description="less sure answers are `not sure`")
    within: Annotated[Literal[THRESHOLDS_KM] | None, BeforeValidator(_numbered)] = Field(
        None, description="of so many km is min_confidence"
    )

    @classmethod
    def of_form(cls, fields: Sequence[tuple[str, str]]) -> "Settings":
        """From the fields of a form, of which only ``sources`` may repeat; ``Problem`` where they are none."""
        values: dict[str, Any] = {}
        for name, value in fields:
            if name == "sources":
                values.setdefault(name, []).append(value)
            elif name in values:
                raise Problem(422, f"{name[:30]!a}: given twice")
            else:
                values[name] = value
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            said = (f"{'.'.join(map(str, part['loc']))[:30]!a}: {part['msg']}" for part in found)
            raise Problem(422, "; ".join(said)) from None

    def demand(self, default: Demand | None) -> Demand | None:
        """How sure an answer has to be, by ``default`` as the app was started."""
        confidence = self.min_confidence
        if confidence is None and default is not None:
            confidence = default.confidence
        if confidence is None and self.within is not None:
            raise Problem(422, "within: no use without min_confidence")
        return Demand.of(confidence, self.within or (200 if default is None else default.within_km))


@dataclass(frozen=True)
class Offer:
    """What requests may choose from, and what they get without choosing."""

    sources: Mapping[str, Sequence[str]]  # name of a kind -> what it has, in words
    decode: Sequence[str]  # methods, the default first; none where a vote decides
    generate: int | None  # guesses; None: nobody guesses
    demand: Demand | None
    decides: Sequence[str]  # who does, in words
    sent_to: str | None = None  # the model of a server that gets the photos, too
    knows: bool = True  # whether how sure an answer is can be known of any photo

    def check(self, settings: Settings) -> None:
        """Raise ``Problem`` where ``settings`` have what is not offered."""
        if strange := [kind for kind in settings.sources or () if kind not in self.sources]:
            raise Problem(422, f"sources: the app was started without {', '.join(strange)}")
        if settings.generate is not None and self.generate is None:
            raise Problem(422, "generate: the app was started without a model that guesses")
        if settings.decode is not None and settings.decode not in self.decode:
            known = f"it is {', '.join(self.decode)}" if self.decode else "a vote decides, which has no rewards"
            raise Problem(422, f"decode: {known}")
        if settings.min_confidence is not None and not self.knows:
            raise Problem(422, "min_confidence: how sure this app's answers are is not known: leave it out")

    def as_json(self) -> dict[str, Any]:
        """Ready for JSON, with all that is fixed."""
        return {
            "sources": {kind: list(words) for kind, words in self.sources.items()},
            "decode": list(self.decode),
            "generate": self.generate,
            "most_guesses": MOST_GUESSES,
            "demand": self.demand and asdict(self.demand),
            "within": list(THRESHOLDS_KM) if self.knows else [],
            "decides": list(self.decides),
            "sent_to": self.sent_to,
        }
