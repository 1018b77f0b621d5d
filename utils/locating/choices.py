"""What a locator is made of, as a user chooses it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from utils.answer import Demand
from utils.calibration import Sources
from utils.decoding import METHODS, WITHOUT_RANKER
from utils.generation.local import LocalModel, load_encoder
from utils.geo_ranker import GeoRanker
from utils.locating.gallery_source import GallerySource
from utils.locating.geoclip_source import GeoClipSource
from utils.locating.guesses import Guesses
from utils.locating.judging import Judge
from utils.locating.sources import ListedPlaces, Source
from utils.model.fingerprints import digest, fingerprint, settings_hash, weights_hash
from utils.model.quantizations import QUANTIZATIONS, Quantization
from utils.photos.store import ImageStore
from utils.retrieval.geoclip import GeoClip

# Of what names one of several; None where nothing does.
KNOWN = {
    "ranker": (None, "model", *WITHOUT_RANKER),
    "decode": tuple(METHODS),
    "retriever": (None, "geoclip"),
    "quantize": (None, *QUANTIZATIONS),
}


@dataclass(frozen=True)
class Choices:
    """The flags of ``quick_start.py`` of the same names, whose help says more.

    Raises ``ValueError`` where they do not go together.
    """

    model: str | None = None  # base model of the ranker, which also guesses: hub name or folder
    model_path: str | os.PathLike | None = None  # adapter folder; without it the candidates vote
    ranker: str | None = None  # "model" or one of WITHOUT_RANKER; None: the model where there is an adapter
    decode: str = "argmax"  # one of utils.decoding.METHODS, for the model
    places: ListedPlaces | None = None  # a list of one's own
    index: str | os.PathLike | None = None  # index folder of a gallery
    image_data_path: str | os.PathLike | None = None  # the gallery's photos
    tar_index_path: str | os.PathLike | None = None
    exclude_same_id: bool = False  # the gallery's photo of a photo's own id is none of its candidates
    retriever: str | None = None  # "geoclip": GeoCLIP's points
    geoclip: str | os.PathLike | None = None  # a folder of its hub release; None: the package's weights
    clip: str | os.PathLike | None = None  # its backbone: hub name or folder; None: the one that the release names
    generate: int = 0  # guesses, of model, or of model_name
    model_name: str | None = None  # of a server's model
    base_url: str | None = None  # its address; None: the environment's OPENAI_BASE_URL, else OpenAI's
    topn: int = 12  # candidates of the gallery, and of GeoCLIP
    merge_km: float | None = None  # candidates so near a better one are left out; None: as each source has it
    quantize: Quantization | None = None  # of model
    demand: Demand | None = None  # how sure an answer has to be
    known_only: bool = False  # a photo unlike those that the adapter was calibrated on gets no answer

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Choices":
        """Those among ``values``, such as a script's flags."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})

    def __post_init__(self) -> None:
        self._check_values()
        if self.index is None and self.retriever is None and self.places is None and not self.generate:
            raise ValueError("nothing says where candidates come from: places, index, retriever or generate")
        if self.index is not None and self.image_data_path is None:
            raise ValueError("index needs image_data_path, the photos of its gallery")
        if self.by_model and (self.model is None or self.model_path is None):
            raise ValueError("a ranker needs model and model_path, its base and its adapter")
        if self.generate and self.model is None and self.model_name is None:
            raise ValueError("generate needs a model that guesses: model, or model_name behind a server")
        if self.quantize is not None and not (self.by_model or self.guesses_here):
            raise ValueError("quantize needs a model on this machine, which ranks or guesses")

    def check_demand(self) -> None:
        """Raise ``ValueError`` where something is demanded of answers of which nothing can be known."""
        if self.demand is not None and not (self.by_model and self.of_a_gallery and self.quantize is None):
            raise ValueError(
                "demand (--min_confidence) needs a GeoRanker, not quantised, and candidates from a gallery, with or "
                "without guesses of its base model: of other answers nothing is known"
            )

    def _check_values(self) -> None:
        for name, known in KNOWN.items():
            if getattr(self, name) not in known:
                words = " or ".join(repr(value) for value in known if value is not None)
                raise ValueError(f"{name} is {getattr(self, name)!r}: it is {words}")
        for name in ("topn", "generate", "merge_km"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} is {value}: it is at least 0")

    @property
    def by_model(self) -> bool:
        """Whether a GeoRanker decides."""
        return self.ranker == "model" or (self.ranker is None and self.model_path is not None)

    @property
    def guesses_here(self) -> bool:
        """Whether ``model`` guesses."""
        return bool(self.generate) and self.model_name is None

    @property
    def of_a_gallery(self) -> bool:
        """Whether candidates come from a gallery, with guesses of ``model`` or without, and from nowhere else.

        Of others no calibration knows anything.
        """
        return self.index is not None and self.places is None and self.retriever is None and self.model_name is None

    @property
    def vote(self) -> str | None:
        """The vote that decides where no GeoRanker does."""
        return None if self.by_model else self.ranker or "consensus"

    def judge(self, device: str | None) -> Judge:
        """Load who decides; errors are those of ``Judge.load``."""
        how = {"vote": self.vote, "decode": self.decode, "demand": self.demand, "known_only": self.known_only}
        loading = {"quantize": self.quantize, "generate": self.guesses_here, "device": device}
        return Judge.load(self.model, self.model_path, **how, **loading)

    def sources(self, device: str, judge: Judge) -> list[Source]:
        """Load where candidates come from; the base model of ``judge``'s ranker guesses, too.

        Errors are those of who loads them.
        """
        picking = {} if self.merge_km is None else {"merge_km": self.merge_km}
        sources: list[Source] = [] if self.places is None else [self.places]
        if self.index is not None:
            images = ImageStore.from_paths([self.image_data_path], self.tar_index_path)
            options = {"topn": self.topn, "exclude_same_id": self.exclude_same_id} | picking
            sources.append(GallerySource.load(self.index, images, device, **options))
        if self.retriever == "geoclip":
            geoclip = GeoClip.from_pretrained(self.geoclip, clip=self.clip, device=device)
            sources.append(GeoClipSource(geoclip, self.topn, **picking))
        if self.generate:
            sources.append(self._guesses(device, judge.ranker, picking))
        return sources

    def _guesses(self, device: str, ranker: GeoRanker | None, picking: Mapping[str, float]) -> Guesses:
        if self.guesses_here:
            if ranker is None:
                model = LocalModel.from_pretrained(self.model, device=device, quantize=self.quantize)
            else:
                model = LocalModel(ranker.stock, load_encoder(self.model, ranker.stock), ranker.without_adapter)
            return Guesses.local(model, self.model, self.generate, **picking)

        from utils.generation.api import ApiModel  # openai, which takes a while to import

        def client(count: int) -> ApiModel:
            return ApiModel(self.model_name, base_url=self.base_url, num_samples=count)

        client(self.generate)  # says now what is wrong with key or address
        return Guesses.served(client, self.model_name, self.generate, **picking)

    def known_as(self, sources: list[Source]) -> Sources | None:
        """What a calibration calls the candidates; None where none can know them."""
        if not self.of_a_gallery:
            return None
        gallery = next(source for source in sources if isinstance(source, GallerySource))
        return Sources(self.topn, self.generate, self.merge_km or 0.0, gallery.known_as)

    def identity(self, judge: Judge, sources: list[Source]) -> dict[str, Any]:
        """All that places depend on, ready for JSON: these choices, and what the files that they name hold."""
        about = {"topn": self.topn, "generate": self.generate, "merge_km": self.merge_km or 0.0, "decode": self.decode}
        about |= {"min_confidence": None, "within": 200}
        if self.demand is not None:
            about |= {"min_confidence": self.demand.confidence, "within": self.demand.within_km}
        for source in sources:
            if isinstance(source, GallerySource):
                about |= {"index": str(Path(self.index).resolve()), "gallery": source.gallery.digest[:16]}
            elif isinstance(source, GeoClipSource):
                about["geoclip"] = source.geoclip.places.digest[:16]
        if judge.ranker is not None:
            about["ranker"] = digest(fingerprint(self.model, self.model_path, judge.ranker.info, {}))[:16]
            about["calibration"] = settings_hash(self.model_path)[:16]
        else:
            about["vote"] = digest(repr(WITHOUT_RANKER[self.vote]))[:16]
        if self.model_name is not None:
            about |= {"model_name": self.model_name, "base_url": self.base_url}
        elif self.generate and judge.ranker is None:
            about["model"] = weights_hash(self.model)[:16]
        # What a choice adds only where it was made: tables from before there was the choice go on.
        added = {
            "exclude_same_id": self.exclude_same_id,
            "quantize": self.quantize,
            "known_only": self.known_only,
            "places": self.places and digest(repr(self.places.found))[:16],
        }
        return about | {name: value for name, value in added.items() if value}
