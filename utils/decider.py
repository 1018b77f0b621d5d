"""Who decides where a photo was taken, and what is known of its answers."""

import logging
import os
from dataclasses import dataclass

from utils.calibration import Calibration, Calibrations, Sources, counted
from utils.decoding import METHODS, WITHOUT_RANKER, Decoder, Evidence, decode
from utils.model.adapter_info import AdapterInfo
from utils.vote_calibration import VoteCalibration

logger = logging.getLogger(__name__)

# What readers call the votes of ``WITHOUT_RANKER``.
VOTES = {"consensus": "a vote of the candidates", "consensus_equal": "a vote of the candidates, all of equal weight"}


def who_decides(name: str, is_vote: bool) -> str:
    """The vote of that name, or the GeoRanker whose adapter lies in that folder, in words."""
    return f"{VOTES[name]} (no ranker)" if is_vote else f"the GeoRanker in {name}"


@dataclass(frozen=True)
class Decider:
    """A decoder by its name, with the calibrations of its like."""

    name: str  # among the calibrations
    ranker: str  # what a report calls it
    decoder: Decoder
    calibrations: Calibrations | None = None
    quantized: bool = False  # whether its rewards are of quantised weights, which no calibration was fitted on

    @classmethod
    def of(
        cls,
        ranker: str,
        info: AdapterInfo,
        method: str,
        calibration: str | os.PathLike | None = None,
        quantized: bool = False,
    ) -> "Decider | None":
        """That of ``--ranker``: `model`, with the adapter's ``info``, or a vote with the file of its calibration.

        None for a ranker that is there for comparison only.
        """
        if ranker == "model":
            return cls.of_adapter(info, method, quantized)
        return cls.of_vote(ranker, calibration) if ranker in WITHOUT_RANKER else None

    @classmethod
    def of_adapter(cls, info: AdapterInfo, method: str, quantized: bool = False) -> "Decider":
        """A GeoRanker, with quantised weights or not, whose rewards one of ``METHODS`` decodes."""
        fitted = {"temperature": info.temperature, "similarity_weight": info.similarity_weight}
        return cls(method, METHODS[method].ranker, METHODS[method].decoder(**fitted), info.calibration, quantized)

    @classmethod
    def of_vote(cls, name: str, calibration: str | os.PathLike | None = None) -> "Decider":
        """One of ``WITHOUT_RANKER``, with the file of its calibration; errors are those of ``VoteCalibration.load``."""
        known = None if calibration is None else VoteCalibration.load(calibration)
        if known is not None:
            logger.info("confidence was fitted on: %s", known.candidates)
        return cls(name, name, WITHOUT_RANKER[name], known and known.calibrations)

    def pick(self, evidence: Evidence) -> int:
        """Index of the candidate that is the answer. Raises ``ValueError`` where what it goes by is unknown."""
        if self.ranker in WITHOUT_RANKER:  # whose names are those of methods, too
            return self.decoder.pick(evidence)
        fitted = {name: getattr(self.decoder, name) for name in ("temperature", "similarity_weight")}
        return decode(evidence, self.name, **fitted)

    def calibration(self, sources: Sources | None) -> Calibration | None:
        """What its answers from candidates of ``sources`` are worth; None where that is not known."""
        if self.calibrations is None or sources is None or self.quantized:
            return None
        return self.calibrations.of(self.name, sources)

    def may_know(self, sources: Sources | None) -> bool:
        """Whether anything can be known of its answers from candidates of ``sources``, whatever their numbers."""
        return self.calibration(sources) is not None and bool(self.calibrations.counts)

    def knows(self, counts: tuple[int, int]) -> bool:
        """Whether it was calibrated on queries with such numbers of retrieved candidates and of guesses."""
        return self.calibrations is not None and self.calibrations.know(*counts)

    def why_unknown(self, sources: Sources | None, counts: tuple[int, int]) -> str:
        """Why nothing is known of answers from so many candidates (as for ``knows``) of ``sources``, in words."""
        is_vote = self.ranker in WITHOUT_RANKER
        this = f"{VOTES[self.name] if is_vote else f'deciding by {METHODS[self.name].words}'} ({self.name})"
        if self.calibrations is None or self.name not in self.calibrations.methods:
            return f"{this} was not calibrated"
        if self.quantized:
            return f"{this} was calibrated on rewards of weights that are not quantised"
        if sources is None:
            return f"{this} was calibrated on candidates from elsewhere"
        if difference := self.calibrations.sources.unlike(sources):
            return f"{this} was calibrated on other candidates: {difference}"
        retrieved = counted(counts[0], "similar photo", "similar photos")
        return f"{this} was not calibrated on {retrieved} with {counted(counts[1], 'guess', 'guesses')}"
