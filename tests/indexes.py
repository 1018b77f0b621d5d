"""Index folders of photos that need not exist."""

from pathlib import Path

import numpy as np
import pandas as pd

from utils.jobs.files import write_json
from utils.retrieval.compressed_index import CompressedIndex
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery import IndexInfo
from utils.tables.metadata import ids_hash


def write_index(folder: Path, ids: list[str], embeddings: np.ndarray, index: ExactIndex | CompressedIndex) -> IndexInfo:
    """An index folder of photos with these ``embeddings``, in the state that building leaves it in."""
    folder.mkdir(parents=True)
    places = np.random.default_rng(len(ids)).uniform(-80, 80, (len(ids), 2)).round(3)
    pd.DataFrame({"IMG_ID": ids, "LAT": places[:, 0], "LON": places[:, 1], "city": 'Łódź, "old"'}).to_csv(
        folder / "metadata.csv", index=False
    )
    np.save(folder / "embeddings.npy", embeddings)
    made_of = {"model": "m", "dtype": "auto", "image_ids": ids_hash(ids), "photos": len(ids)}
    write_json(folder / "embeddings.json", made_of | {"storage": embeddings.dtype.name})
    index.save(folder)
    if isinstance(index, ExactIndex):
        info = IndexInfo("metadata.csv", "model", "auto", len(index.components))
    else:
        info = IndexInfo("metadata.csv", "model", "auto", 0, "ivfpq")
    info.save(folder)
    return info
