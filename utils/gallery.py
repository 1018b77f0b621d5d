"""A gallery as ``retrieve_candidates.py build`` leaves it: an index, and the metadata table it counts in."""

from pathlib import Path

import numpy as np

from utils.embedding import EmbeddingInfo, fingerprint, ids_hash
from utils.retrieval import GalleryIndex, IndexInfo, cosines
from utils.tables import read_metadata


class Gallery:
    """An index folder, ready to be searched; row numbers are those of ``metadata`` (``read_metadata``).

    Raises ``FileNotFoundError`` where ``folder`` holds no finished index, and ``ValueError`` where the metadata table
    is no longer the one it was built from.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.info, self.made_of = folder, IndexInfo.load(folder), EmbeddingInfo.load(folder)
        self.table = folder / self.info.gallery
        self.metadata = read_metadata(self.table)
        if ids_hash(self.metadata["IMG_ID"].tolist()) != self.made_of.image_ids:
            raise ValueError(f"{self.table} is no longer the gallery that {folder} was built from: build it again")
        self.embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
        self.index = GalleryIndex.load(folder)

    @property
    def photos(self) -> int:
        """How many can be found."""
        return len(self.index.rows)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The full embeddings (m, d) of some rows (m,)."""
        return self.embeddings[rows]

    def search(self, embeddings: np.ndarray, topk: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores (m, topk) of the most similar photos of query embeddings (m, d), best first."""
        return self.index.search(embeddings, topk)

    def cosines(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Cosine (m, k) of the full embeddings of each query (m, d) and its own photos ``rows`` (m, k)."""
        return cosines(queries, self.embeddings, rows)

    def check_model(self, model: str) -> None:
        """Raise ``ValueError`` unless ``model`` is the one that the index was built with."""
        if fingerprint(model) != self.made_of.model:
            raise ValueError(f"{self.folder} was built with another model than {model}: build it again")
