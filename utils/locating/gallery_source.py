"""Candidates from a gallery: the places of its most similar photos."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from utils.candidates import NUM_NEGATIVES, Candidate, prompt_texts
from utils.locating.photo import Photo
from utils.locating.sources import Found
from utils.photos.store import ImageStore
from utils.retrieval.embedding import load_encoder
from utils.retrieval.encoders import Encoder
from utils.retrieval.exclusions import same_id, search_excluding
from utils.retrieval.gallery import Gallery
from utils.tables.ledger import find_credits, ledgers_of

RETRIEVED = 20  # photos searched for, as in the released tables; the last of them are the negative examples


class GallerySource:
    """The most similar photos of a gallery, as ``retrieve_candidates.py search`` finds them."""

    def __init__(
        self,
        gallery: Gallery,
        images: ImageStore,
        encoder: Encoder,
        topn: int = 12,
        merge_km: float = 0.0,
        exclude_same_id: bool = False,
    ) -> None:
        """``images`` holds the gallery's photos, ``encoder`` made its index.

        With ``exclude_same_id`` a photo does not find the gallery's photo of its own id.
        """
        self.gallery, self.images, self.encoder = gallery, images, encoder
        self.take, self.merge_km, self.exclude_same_id = topn, merge_km, exclude_same_id
        self.words = f"similar photos of {gallery.folder}, which has {gallery.photos:,}"

    @classmethod
    def load(
        cls, index: str | Path, images: ImageStore, device: str | torch.device, **picking: float | bool
    ) -> "GallerySource":
        """From an index folder; ``picking`` as in ``__init__``.

        Raises ``FileNotFoundError`` and ``ValueError`` where the folder is no index, or its gallery or encoder are no
        longer those it was built with.
        """
        gallery = Gallery(Path(index))
        gallery.check_model(gallery.info.model)
        return cls(gallery, images, load_encoder(gallery.info.model, gallery.info.dtype, device), **picking)

    @property
    def known_as(self) -> str | None:
        """What a calibration calls the gallery; with photos added to it, it is another than any that one knows."""
        return None if self.gallery.info.added else self.gallery.made_of.image_ids

    def find(self, photos: Sequence[Photo]) -> list[Found]:
        embeddings = self.encoder.encode([photo.image for photo in photos])  # (photos, d)
        ids = pd.Series([photo.id for photo in photos])
        exclusions = [same_id(ids, self.gallery.metadata["IMG_ID"])] if self.exclude_same_id else []
        # Photos of the own id are one at most: ids of a gallery differ.
        topk = min(max(RETRIEVED, self.take), self.gallery.photos - self.exclude_same_id)
        rows, _ = search_excluding(self.gallery, embeddings, topk, exclusions)
        similarities = self.gallery.cosines(embeddings, rows)
        found = [self._found(*of_photo) for of_photo in zip(rows, similarities.tolist(), strict=True)]
        # All at once: a ledger is read through for however many.
        image_ids = {candidate.image for part in found for candidate in part.candidates}
        credits, notes = find_credits(ledgers_of(part.table for part in self.gallery.parts), image_ids)
        return [replace(part, credits=credits, notes=notes) for part in found]

    def _found(self, rows: Sequence[int], similarities: Sequence[float]) -> Found:
        places = self.gallery.metadata.iloc[rows].to_dict("records")
        candidates = [
            Candidate(place["LAT"], place["LON"], prompt_texts(place), place["IMG_ID"], similarity=similarity)
            for place, similarity in zip(places, similarities, strict=True)
        ]
        return Found(candidates, negatives=tuple(candidates[-NUM_NEGATIVES:]))

    def open(self, image_id: str) -> Image.Image:
        return self.images.open(image_id)
