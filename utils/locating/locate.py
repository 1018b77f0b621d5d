"""Places for photos of one's own: their candidates come from a gallery's index, and from the model's own guesses."""

import logging
from pathlib import Path

from PIL import Image

from utils.calibration import Sources
from utils.candidates import NUM_NEGATIVES, Candidate, Query, pick_candidates, prompt_texts
from utils.generation.local import LocalModel
from utils.geo_ranker import GeoRanker
from utils.geography.answers import parse_answers
from utils.locating.ranking_task import Task
from utils.photos.exif import has_gps
from utils.photos.images import ImageError, open_image
from utils.photos.store import ImageStore
from utils.retrieval.embedding import load_encoder
from utils.retrieval.encoders import Encoder
from utils.retrieval.gallery import Gallery

logger = logging.getLogger(__name__)

RETRIEVED = 20  # photos searched for, as in the released tables; the last of them are the negative examples


class Locator:
    """Makes the task of ranking (``utils/locating/ranking_task.py``) of a photo.

    Its candidates are the most similar photos of the gallery, as ``retrieve_candidates.py search`` finds them, and the
    places that the ranker's base model guesses. Of EXIF nothing but the rotation is used.
    """

    def __init__(
        self,
        ranker: GeoRanker,
        gallery: Gallery,
        images: ImageStore,
        encoder: Encoder,
        generator: LocalModel | None = None,
        *,
        topn: int = 12,
        topn_zs: int = 3,
        merge_km: float = 0.0,
    ) -> None:
        """``images`` holds the gallery's photos; ``encoder`` made the index; without ``generator`` nothing is guessed.

        ``topn``, ``topn_zs`` and ``merge_km`` are those of ``pick_candidates``.
        """
        self.ranker, self.gallery, self.images = ranker, gallery, images
        self.encoder, self.generator = encoder, generator
        self.topn, self.topn_zs, self.merge_km = topn, topn_zs, merge_km
        # With photos added to it, the gallery is another than any that an adapter was calibrated on.
        known = None if gallery.info.added else gallery.made_of.image_ids
        self.sources = Sources(topn, topn_zs if generator else 0, merge_km, known)
        self.unusable = 0  # answers so far that name no usable place

    @classmethod
    def load(
        cls, ranker: GeoRanker, index: Path, images: ImageStore, generate_with: str | None = None, **picking: float
    ) -> "Locator":
        """From an index folder; ``generate_with`` is the checkpoint that guesses, ``picking`` as in ``__init__``.

        Raises ``FileNotFoundError`` and ``ValueError`` where the folder is no index, or its gallery or encoder are no
        longer those it was built with.
        """
        gallery, device = Gallery(index), ranker.backbone.device
        gallery.check_model(gallery.info.model)
        encoder = load_encoder(gallery.info.model, gallery.info.dtype, device)
        generator = LocalModel.from_pretrained(generate_with, device=device) if generate_with else None
        return cls(ranker, gallery, images, encoder, generator, **picking)

    def task(self, path: Path, latitude: float | None = None, longitude: float | None = None) -> Task:
        """The photo and its candidates, and whether it brings coordinates of its own, which are not used.

        ``latitude`` and ``longitude`` (degrees) are the truth if known. Raises ``ImageError`` naming a photo that
        cannot be read.
        """
        photo = open_image(path)
        try:
            retrieved = self._retrieved(photo)
        except ValueError as error:  # a shape that the encoder refuses
            raise ImageError(f"{path}: {error}") from error
        generated = self._generated(photo, path.name)
        candidates = pick_candidates(retrieved, generated, self.topn, self.topn_zs, self.merge_km)
        query = Query(photo, candidates, tuple(retrieved[-NUM_NEGATIVES:]), latitude, longitude)
        return Task(photo, query, self.images, [], has_gps(path), self.sources, path.name)

    def log_unusable(self) -> None:
        """Say how many guesses named no usable place so far, where any were asked for."""
        if self.generator is not None:
            logger.info("Guesses that name no usable place, dropped: %d", self.unusable)

    def _retrieved(self, photo: Image.Image) -> list[Candidate]:
        embedding = self.encoder.encode([photo])  # (1, d)
        rows, _ = self.gallery.search(embedding, min(max(RETRIEVED, self.topn), self.gallery.photos))
        (similarities,) = self.gallery.cosines(embedding, rows)
        places = self.gallery.metadata.iloc[rows[0]].to_dict("records")
        return [
            Candidate(place["LAT"], place["LON"], prompt_texts(place), place["IMG_ID"], similarity=similarity)
            for place, similarity in zip(places, similarities.tolist(), strict=True)
        ]

    def _generated(self, photo: Image.Image, name: str) -> list[Candidate]:
        """Answers that name no usable place, or were cut off in the middle of it, are left out and counted."""
        if self.generator is None:
            return []
        (reply,) = self.generator.replies({name: photo}, num_samples=self.topn_zs)
        places, _ = parse_answers(reply.whole)
        self.unusable += len(reply.answers) - len(places)
        return [Candidate(*place, source="generation") for place in places]
