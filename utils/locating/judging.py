"""Tasks decided: by a GeoRanker, or by a vote of the candidates."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from utils.answer import Answer, Demand, Place, answer
from utils.calibration import outlook
from utils.candidates import Candidate, Query
from utils.decider import Decider
from utils.decoding import Evidence, shares
from utils.geo_ranker import GeoRanker
from utils.geography.place_names import place_names
from utils.locating.task import Option, Task, counts, readable_options
from utils.model.memory import DoesNotFit
from utils.model.quantizations import Quantization
from utils.photos.images import ImageError
from utils.photos.jpeg import as_jpeg

logger = logging.getLogger(__name__)


class PhotoDoesNotFit(ImageError):
    """Not even with a single candidate does a photo fit into memory."""


class Shown(NamedTuple):
    """A task's readable candidates with their photos; None for one that has none."""

    task: Task
    options: list[Option]
    photos: list[Image.Image | None]


@dataclass(frozen=True)
class Judge:
    """Decides tasks; ``ranker`` is the one whose rewards ``decider`` decodes, None for a vote."""

    decider: Decider
    name: str  # of the vote, or of the ranker's adapter
    ranker: GeoRanker | None = None
    demand: Demand | None = None  # how sure an answer has to be
    known_only: bool = False  # no answer for photos unlike those that the ranker was calibrated on

    @classmethod
    def load(
        cls,
        model: str | None,
        model_path: str | os.PathLike | None,
        *,
        vote: str | None = None,
        decode: str = "argmax",
        vote_calibration: str | os.PathLike | None = None,
        demand: Demand | None = None,
        known_only: bool = False,
        quantize: Quantization | None = None,
        generate: bool = False,
        device: str | None = None,
    ) -> "Judge":
        """A ``vote`` (one of ``utils.decoding.WITHOUT_RANKER``), or without one the GeoRanker of base and adapter.

        ``decode`` is one of ``utils.decoding.METHODS``, for the GeoRanker, as are ``quantize`` and ``generate``, which
        are those of ``GeoRanker.from_pretrained``; ``vote_calibration`` is the file of a vote's calibration. Errors are
        those of ``GeoRanker.from_pretrained`` and ``VoteCalibration.load``.
        """
        if vote is not None:
            return cls(Decider.of_vote(vote, vote_calibration), vote, None, demand)
        ranker = GeoRanker.from_pretrained(model, model_path, quantize=quantize, generate=generate, device=device)
        decider = Decider.of_adapter(ranker.info, decode, quantize is not None)
        return cls(decider, str(model_path), ranker, demand, known_only)

    def varied(self, decode: str, demand: Demand | None) -> "Judge":
        """The same with another demand, and its rewards decoded otherwise; a vote has none to decode."""
        if self.ranker is None:
            return replace(self, demand=demand)
        decider = Decider.of_adapter(self.ranker.info, decode, self.ranker.quantize is not None)
        return replace(self, decider=decider, demand=demand)

    def answers(self, tasks: Sequence[Task]) -> list[Answer | ValueError]:
        """The answer to each task, or what keeps one away.

        That is an ``ImageError`` where no candidate is left (``Unanswered`` where that may pass), a ``PhotoDoesNotFit``
        where memory does not suffice, a ``NothingKnown`` where something is demanded of candidates of which nothing is
        known, and a ``ValueError`` where a reward is no number or the decoder lacks what it goes by. How sure an answer
        is, is stated where the decider was calibrated on candidates of the same sources. Of a photo unlike those that
        it was calibrated on nothing is stated, with a warning; where something is demanded, ``answered`` is None. A
        candidate whose photo cannot be read goes to the answer's problems.
        """
        answers: list[Answer | ValueError | None] = [None] * len(tasks)
        shown: dict[int, Shown] = {}
        for number, task in enumerate(tasks):
            try:
                shown[number] = Shown(task, *readable_options(task))
            except ImageError as error:
                answers[number] = error.with_traceback(None)
        scoring = self.ranker is not None and shown
        rewards = self._rewards(list(shown.values())) if scoring else [None] * len(shown)
        for (number, part), scored in zip(shown.items(), rewards, strict=True):
            try:
                answers[number] = scored if isinstance(scored, ValueError) else self._decided(part, scored)
            except ValueError as error:
                answers[number] = error.with_traceback(None)  # whose frames hold the photos
        return answers

    def _rewards(self, shown: Sequence[Shown]) -> list[list[float] | ValueError]:
        """Of each task's candidates; where that fails for several tasks, each for itself."""
        queries = []
        for part in shown:
            pairs = zip(part.options, part.photos, strict=True)
            candidates = tuple(replace(option.candidate, image=photo) for option, photo in pairs)
            queries.append(Query(self._seen(part.task), candidates, part.task.negatives))
        try:
            return [values.tolist() for values in self.ranker.score_photos(queries)]
        except (ValueError, DoesNotFit) as error:
            if len(shown) == 1:
                path = shown[0].task.photo.path
                known = isinstance(error, ValueError)
                return [error.with_traceback(None) if known else PhotoDoesNotFit(f"{path}: {error}")]
        return [rewards for part in shown for rewards in self._rewards([part])]

    def _seen(self, task: Task) -> Image.Image:
        """The photo as the ranker sees it.

        The published quick_start.py re-encodes the query's photo with the candidates', the published evaluation does
        not.
        """
        return as_jpeg(task.photo.image, self.ranker.info.candidate_jpeg_quality)

    def _decided(self, shown: Shown, rewards: Sequence[float] | None) -> Answer:
        task, options, photos = shown
        candidates = [option.candidate for option in options]
        points = [(candidate.latitude, candidate.longitude) for candidate in candidates]
        similarities = [candidate.similarity for candidate in candidates]
        evidence = Evidence(points, rewards, similarities, [option.rank for option in options])
        index = self.decider.pick(evidence)
        names = place_names(points, [candidate.texts for candidate in candidates])
        is_guess = [option.is_guess for option in options]
        known = outlook(points, self.decider.decoder.shares(evidence), index, is_guess)
        ranked = counts(options)
        unlike = self._is_unlike(task)
        if unlike and self.known_only:
            raise ValueError(
                f"{task.photo.path}: unlike {self.ranker.info.domain}, all that {self.name} knows; "
                "asked about alone, other sources are tried, if this machine has any"
            )
        if unlike:
            why = "the photo is unlike those of the calibration"
            found = answer(candidates[index], names[index], known, None, why_unknown=why)
            found = replace(found, answered=True if self.demand is None else None)
        else:
            calibration = self.decider.calibration(task.sources) if self.decider.knows(ranked) else None
            why = "" if calibration else self.decider.why_unknown(task.sources, ranked)
            found = answer(candidates[index], names[index], known, calibration, self.demand, why)
        return replace(
            found,
            places=self._places(evidence, options, names),
            ranker=self.name,
            decode=None if self.ranker is None else self.decider.name,
            used=task.used,
            notes=(*task.notes, *_same_photo(task, candidates[index], photos[index])),
            problems=tuple(task.problems),
            has_gps=task.photo.has_gps,
        )

    def _is_unlike(self, task: Task) -> bool:
        """Whether the photo is unlike all that the ranker was calibrated on; says so of one that gets an answer."""
        if self.ranker is None or self.ranker.info.domain is None or self.ranker.knows(self._seen(task)):
            return False
        if not self.known_only:
            message = "%s is unlike what the adapter was calibrated on (%s): no confidence is stated"
            logger.warning(message, task.photo.path, self.ranker.info.domain)
        return True

    def _places(self, evidence: Evidence, options: Sequence[Option], names: Sequence[str]) -> tuple[Place, ...]:
        """Best first: by their rewards, or by their support in the vote, which also says their shares."""
        if self.ranker is not None:
            scores = np.asarray(evidence.rewards)
            parts = shares(scores, self.ranker.info.temperature)
        else:
            scores = self.decider.decoder.support(evidence)
            parts = scores / scores.sum()
        rewards = evidence.rewards or [None] * len(options)
        of_each = zip(options, names, rewards, parts.tolist(), strict=True)
        places = [
            Place(option.candidate, *known, photo=option.own_photo, credit=option.credit) for option, *known in of_each
        ]
        return tuple(places[number] for number in np.argsort(-scores, kind="stable"))


def _same_photo(task: Task, candidate: Candidate, photo: Image.Image | None) -> list[str]:
    """A note where the answer's photo is the very photo that was asked about."""
    asked = task.photo.image
    if photo is None or photo.size != asked.size or photo.tobytes() != asked.tobytes():
        return []
    return [f"the photo of the answer, {candidate.image}, is this very photo"]
