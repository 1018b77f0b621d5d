"""What the answers of a vote without a ranker are worth: a JSON file of its own, for lack of an adapter to put it into.

``python -m tools.fit_consensus --calibration FILE`` writes it, ``evaluate.py --ranker consensus`` reads it. A candidate
table does not say who found its candidates, so the file says it in words, for its user to compare.
"""

import os
from dataclasses import asdict, dataclass

from utils.calibration import Calibrations
from utils.decoding import WITHOUT_RANKER
from utils.jobs.files import write_json
from utils.jobs.reading import naming, read_json_object


@dataclass(frozen=True)
class VoteCalibration:
    """The calibrations of ``utils.decoding.WITHOUT_RANKER``, fitted on candidates of the same sources."""

    candidates: str  # in words: whose queries, found by which retriever in which gallery, guessed by which model
    calibrations: Calibrations

    @classmethod
    def load(cls, path: str | os.PathLike) -> "VoteCalibration":
        """Read a file that ``save`` wrote.

        Raises ``FileNotFoundError`` where there is none, and ``ValueError``, naming the file, for anything else and
        for votes whose weights are not those in use.
        """
        values = read_json_object(path)
        with naming(path):
            if values.keys() != {"candidates", "weights", "sources", "methods", "counts"}:
                raise ValueError("it has candidates, weights, sources, methods and counts")
            words = values["candidates"]
            if not isinstance(words, str) or not words.strip() or not words.isprintable():
                raise ValueError(f"candidates is {words!r}: it must be words, on one line")
            calibrations = Calibrations.from_json({name: values[name] for name in ("sources", "methods", "counts")})
            if values["weights"] != _weights(calibrations):
                raise ValueError("it was fitted on votes of other weights; python -m tools.fit_consensus fits it anew")
        return cls(values["candidates"], calibrations)

    def save(self, path: str | os.PathLike) -> None:
        values = {"candidates": self.candidates, "weights": _weights(self.calibrations)}
        write_json(path, values | asdict(self.calibrations))


def _weights(calibrations: Calibrations) -> dict[str, dict[str, float]]:
    """Those of the decoders in use, by name. Raises ``ValueError`` for a name that is none of them."""
    if unknown := sorted(calibrations.methods.keys() - WITHOUT_RANKER.keys()):
        raise ValueError(f"{', '.join(unknown)}: known votes are {', '.join(WITHOUT_RANKER)}")
    return {name: asdict(WITHOUT_RANKER[name]) for name in calibrations.methods}
