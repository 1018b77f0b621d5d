"""What one photo may have otherwise than the others, of the same models in memory."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from utils.answer import Demand
from utils.locating.choices import Choices
from utils.locating.gallery_source import GallerySource
from utils.locating.geoclip_source import GeoClipSource
from utils.locating.guesses import Guesses
from utils.locating.sources import ListedPlaces, Source

# What users call the sources.
KINDS = {"list": ListedPlaces, "gallery": GallerySource, "geoclip": GeoClipSource, "guesses": Guesses}


@dataclass(frozen=True)
class Variation:
    """What is to be used of what is there."""

    kinds: Collection[str] = tuple(KINDS)  # of sources
    generate: int = 0  # guesses, where there is somebody who guesses
    decode: str = "argmax"  # one of utils.decoding.METHODS, for a ranker
    demand: Demand | None = None

    def choices(self, choices: Choices) -> Choices:
        """``choices`` with this. Raises ``ValueError`` where no source is left."""
        kept = {
            "places": choices.places if "list" in self.kinds else None,
            "index": choices.index if "gallery" in self.kinds else None,
            "retriever": choices.retriever if "geoclip" in self.kinds else None,
            "generate": self.generate if choices.generate and "guesses" in self.kinds else 0,
        }
        if not any(kept.values()):
            raise ValueError(f"nothing finds candidates: there is no {' or '.join(self.kinds)} for such a photo")
        # Weights that are loaded stay as they are; without guesses of theirs a vote knows of none.
        quantize = choices.quantize if choices.by_model or (kept["generate"] and choices.guesses_here) else None
        return replace(choices, decode=self.decode, demand=self.demand, quantize=quantize, **kept)

    def sources(self, sources: Sequence[Source]) -> list[Source]:
        """Those of ``sources`` that are meant, with so many guesses."""
        kept = [source for source in sources if kind_of(source) in self.kinds]
        varied = [source.with_count(self.generate) if isinstance(source, Guesses) else source for source in kept]
        return [source for source in varied if source.take or not isinstance(source, Guesses)]


def kind_of(source: Source) -> str:
    """Its name among ``KINDS``."""
    return next(name for name, kind in KINDS.items() if isinstance(source, kind))
