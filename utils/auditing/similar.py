"""The gallery photos whose embeddings are most like those of the queries."""

import numpy as np

from utils.auditing.near_duplicates import Photos
from utils.retrieval.embedding import embed_photos, load_encoder
from utils.retrieval.gallery import Gallery

TOPK = 10  # candidates of each query


class Similar:
    """Queries searched for in an index.

    Args:
        gallery: the index folder, opened.
        model: the encoder that it was built with, where it is now; None: where it was then.

    Raises:
        ValueError: when ``model`` is another encoder.
    """

    def __init__(self, gallery: Gallery, queries: Photos, model: str | None, device: str, workers: int = 0) -> None:
        model = model or gallery.info.model
        gallery.check_model(model)
        encoder = load_encoder(model, gallery.info.dtype, device)
        # What cannot be read is named where the photos are hashed.
        self.embedded, _ = embed_photos(encoder, queries.image_ids, queries.store, workers=workers, label="queries")
        self.gallery = gallery
        numbers = np.flatnonzero(~np.isnan(self.embedded[:, 0]))
        found, _ = gallery.search(self.embedded[numbers], min(TOPK, gallery.photos))
        self.rows: dict[int, list[int]] = dict(zip(numbers.tolist(), found.tolist(), strict=True))

    def cosine(self, number: int, row: int) -> float:
        """Of the embeddings of a query and a gallery photo."""
        return float(self.embedded[number] @ self.gallery.vectors(np.array([row]))[0])
