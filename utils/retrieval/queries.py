"""Query photos of a metadata table as vectors, ready to be searched for."""

import os

import numpy as np
import pandas as pd

from utils.photos.store import ImageStore
from utils.retrieval.embedding import embed_photos
from utils.retrieval.encoders import Encoder
from utils.tables.metadata import metadata_problems, read_metadata


def embed_queries(
    table: str | os.PathLike, photos: ImageStore, encoder: Encoder, batch_size: int = 32, workers: int = 0
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """The usable queries of a metadata table and their embeddings; ``workers`` processes decode the ``photos``.

    Returns:
        Rows of ``read_metadata``, (queries, dimension) float32, and a message for each query whose coordinate or photo
        cannot be used.
    """
    queries = read_metadata(table)
    problems = metadata_problems(table, queries)
    queries = queries[queries["LAT"].notna()]
    embedded, unreadable = embed_photos(encoder, queries["IMG_ID"].tolist(), photos, batch_size, workers, "queries")
    readable = ~np.isnan(embedded[:, 0])
    return queries[readable], embedded[readable], problems + unreadable
