"""A gallery as ``retrieve_candidates.py build`` leaves it: an index, and the metadata table it counts in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.embedding import EmbeddingInfo, fingerprint, ids_hash
from utils.retrieval import GalleryIndex, IndexInfo
from utils.tables import read_metadata


@dataclass(frozen=True)
class Gallery:
    """Row numbers mean the same in all of them."""

    info: IndexInfo
    index: GalleryIndex
    metadata: pd.DataFrame  # (n rows) as read_metadata returns it
    embeddings: np.ndarray  # (n, d) float32, mapped from the file

    @classmethod
    def load(cls, folder: Path) -> "Gallery":
        """Raises ``FileNotFoundError`` where ``folder`` holds no finished index, and ``ValueError`` where the
        metadata table is no longer the one it was built from."""
        info = IndexInfo.load(folder)
        path = folder / info.gallery
        metadata = read_metadata(path)
        if ids_hash(metadata["IMG_ID"].tolist()) != EmbeddingInfo.load(folder).image_ids:
            raise ValueError(f"{path} is no longer the gallery that {folder} was built from: build it again")
        return cls(info, GalleryIndex.load(folder), metadata, np.load(folder / "embeddings.npy", mmap_mode="r"))


def check_model(folder: Path, model: str) -> None:
    """Raise ``ValueError`` unless ``model`` is the one that the index in ``folder`` was built with."""
    if fingerprint(model) != EmbeddingInfo.load(folder).model:
        raise ValueError(f"{folder} was built with another model than {model}: build it again")
