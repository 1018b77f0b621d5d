"""``georanker.json``: how an adapter was trained, so that inference always matches training.

Released adapters have none; they mean the published prompt and photos re-encoded as JPEG. Reading it needs neither
torch nor peft.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utils.calibration import Calibrations
from utils.decoding import METHODS
from utils.jobs.files import write_json
from utils.jobs.reading import check_keys, check_kinds, naming, read_json_object
from utils.model.prompts import LAYOUTS, PARTS, Layout, Part

FILENAME = "georanker.json"
DOMAIN_FILENAME = "domain.safetensors"  # beside it where it has a domain, see utils/model/domain.py
# The original saves photos as JPEG before the model sees them, at the quality that PIL takes by default.
PUBLISHED_JPEG_QUALITY = 75
LARGEST = 1e9  # temperature or weight; those that are fitted lie far below
MOST_PIXELS = 100_000_000  # that a photo is enlarged to
# What the settings of georanker.json may be.
KINDS = {
    "base_model": str,
    "domain": str | None,
    **dict.fromkeys(("min_pixels", "max_pixels", "candidate_max_pixels"), int | None),
    **dict.fromkeys(("group_size", "candidate_jpeg_quality"), int | None),
    **dict.fromkeys(("temperature", "similarity_weight"), int | float),
}


@dataclass(frozen=True)
class AdapterInfo:
    """How an adapter was trained. Raises ``ValueError``, naming the setting, where a value is impossible."""

    base_model: str  # hub name or folder of the backbone
    layout: Layout = "published"  # prompt layout, see utils/model/prompts.py
    min_pixels: int | None = None  # size limits of a photo; None: those of the backbone's own preprocessor
    max_pixels: int | None = None
    group_size: int | None = None  # candidates in a training group
    temperature: float = 1.0  # shares = softmax(rewards / temperature), fitted on validation queries
    similarity_weight: float = 0.0  # `a` of reward + a * similarity, fitted on validation queries
    omit: tuple[Part, ...] = ()  # what was left out of the prompt, see utils/model/prompts.py
    # Candidates' photos are re-encoded as JPEG of this quality (1 to 100) before the model sees them; None: they are
    # shown as they are. Training and quick_start.py do the same to the query's photo, evaluation does not, as in the
    # original.
    candidate_jpeg_quality: int | None = None
    calibration: Calibrations | None = None  # what answers are worth, fitted on validation queries
    domain: str | None = None  # what photos it was calibrated on, in words; None: nobody said
    candidate_max_pixels: int | None = None  # size limit of candidates' photos; None: max_pixels, as for the query's

    def __post_init__(self) -> None:
        check_kinds(vars(self), KINDS)
        if not self.base_model:
            raise ValueError("base_model is empty")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout is {self.layout!r}: it is one of {', '.join(LAYOUTS)}")
        if not 1 / LARGEST <= self.temperature <= LARGEST:
            raise ValueError(f"temperature is {self.temperature}: it must be positive and at most {LARGEST:g}")
        if not 0 <= self.similarity_weight <= LARGEST:
            raise ValueError(f"similarity_weight is {self.similarity_weight}: it lies between 0 and {LARGEST:g}")
        if any(part not in PARTS or self.omit.count(part) > 1 for part in self.omit):
            raise ValueError(f"omit is {list(self.omit)}: it is some of {', '.join(PARTS)}, each once")
        if self.candidate_jpeg_quality is not None and not 1 <= self.candidate_jpeg_quality <= 100:
            raise ValueError(f"candidate_jpeg_quality is {self.candidate_jpeg_quality}: it lies between 1 and 100")
        if self.group_size is not None and self.group_size < 2:
            raise ValueError(f"group_size is {self.group_size}: a ranking has at least 2 candidates")
        self._check_pixels()

    def _check_pixels(self) -> None:
        least, most = self.min_pixels, self.max_pixels
        if least is not None and not 1 <= least <= MOST_PIXELS:
            raise ValueError(f"min_pixels is {least}: it lies between 1 and {MOST_PIXELS:,}")
        if most is not None and most < 1:
            raise ValueError(f"max_pixels is {most}: it must be positive")
        if least is not None and most is not None and least > most:
            raise ValueError(f"min_pixels is {least}, more than max_pixels ({most})")
        own = self.candidate_max_pixels
        if own is not None and own < 1:
            raise ValueError(f"candidate_max_pixels is {own}: it must be positive")
        if own is not None and most is not None and own > most:
            raise ValueError(f"candidate_max_pixels is {own}, more than max_pixels ({most})")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "AdapterInfo":
        """Read ``folder/georanker.json``.

        Raises ``FileNotFoundError`` where there is none, and ``ValueError``, naming file and setting, where
        it is not what ``save`` writes.
        """
        path = Path(folder) / FILENAME
        values = read_json_object(path)
        with naming(path):
            check_keys(values, cls)
            check_kinds({"omit": []} | values, {"omit": list})
            return cls(**values | {"omit": tuple(values.get("omit", [])), "calibration": _calibration(values)})

    def save(self, folder: str | os.PathLike) -> None:
        write_json(Path(folder) / FILENAME, asdict(self))


def adapter_info(folder: str | os.PathLike, base: str | os.PathLike) -> AdapterInfo:
    """What ``georanker.json`` in ``folder`` says; without one, what holds for a released adapter on ``base``.

    Errors are those of ``AdapterInfo.load``.
    """
    if Path(folder, FILENAME).exists():
        return AdapterInfo.load(folder)
    return AdapterInfo(str(base), candidate_jpeg_quality=PUBLISHED_JPEG_QUALITY)


def recorded_base(folder: str | os.PathLike | None) -> str | None:
    """The base model that ``georanker.json`` in ``folder`` names; None without one, as in a released adapter."""
    if folder is None or not Path(folder, FILENAME).exists():
        return None
    return AdapterInfo.load(folder).base_model


def _calibration(values: dict[str, Any]) -> Calibrations | None:
    if values.get("calibration") is None:  # as in files that were written before there was any
        return None
    with naming("calibration"):
        found = Calibrations.from_json(values["calibration"])
        if unknown := sorted(found.methods.keys() - METHODS.keys()):
            raise ValueError(f"{', '.join(unknown)}: known methods are {', '.join(METHODS)}")
    return found
