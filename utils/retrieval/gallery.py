"""Index folders: a gallery that can be searched, and the results of a search.

An index folder holds the embeddings of a gallery (``gallery_embeddings.py``) and an index over them, exact
(``exact_index.py``) or compressed (``compressed_index.py``). Photos that are added later lie in folders of their own
inside it, coded alike, and are searched with the others: row numbers go on where the gallery ends.
"""

import hashlib
import os
import reprlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from utils.jobs.files import atomic_path, write_array, write_json
from utils.jobs.reading import check_keys, check_kinds, naming, read_json_object
from utils.model.fingerprints import weights_hash
from utils.retrieval.compressed_index import CompressedIndex
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.gallery_embeddings import DTYPES, EmbeddingInfo, read_embeddings
from utils.tables.metadata import ids_hash, read_metadata
from utils.tables.retrieval_table import RetrievalRow

IndexType = Literal["exact", "ivfpq"]
FILENAME = "index.json"  # written last
UNION = "gallery.csv"  # the metadata of a gallery and of all that was added, in an index folder
QUERY_CHUNK = 256
RESULTS = {"I", "D", "S", "G"}  # rows, scores, cosines of two photos, cosines of photo and place by GeoCLIP


# ---- index folders ----


@dataclass(frozen=True)
class IndexInfo:
    """``index.json``: what an index folder was made from. Raises ``ValueError``, naming the field, for nonsense."""

    gallery: str  # path of the gallery's metadata table, relative to the index folder
    model: str  # of the encoder that made the embeddings: a folder, hub name or .pth file
    dtype: str
    components: int  # 0: the full embedding
    index_type: IndexType = "exact"
    added: tuple[str, ...] = ()  # folders inside this one, in the order of their rows

    def __post_init__(self) -> None:
        kinds = {"gallery": str, "model": str, "dtype": str, "components": int, "index_type": str, "added": tuple}
        check_kinds(vars(self), kinds)
        for name, known in (("dtype", DTYPES), ("index_type", get_args(IndexType))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it is one of {', '.join(known)}")
        if self.components < 0:
            raise ValueError(f"components is {self.components}: it cannot be negative")
        expected = tuple(f"added-{number:03}" for number in range(1, len(self.added) + 1))
        if self.added != expected:
            raise ValueError(f"added is {reprlib.repr(list(self.added))}: it must be {reprlib.repr(list(expected))}")

    @classmethod
    def load(cls, folder: Path) -> "IndexInfo":
        """Read ``folder/index.json``.

        Raises ``FileNotFoundError`` when ``folder`` holds no finished index, and ``ValueError``, naming file and field,
        where it is damaged.
        """
        values = read_json_object(folder / FILENAME)
        with naming(folder / FILENAME):
            check_keys(values, cls)
            check_kinds({"added": []} | values, {"added": list})
            return cls(**values | {"added": tuple(values.get("added", []))})

    def save(self, folder: Path) -> None:
        write_json(folder / FILENAME, asdict(self))


class GalleryPart:
    """One gallery with its embeddings and index: the one an index folder was built from, or an added one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.info, made_of = folder, IndexInfo.load(folder), EmbeddingInfo.load(folder)
        self.table = folder / self.info.gallery
        self.metadata = read_metadata(self.table)
        if ids_hash(self.metadata["IMG_ID"].tolist()) != made_of.image_ids:
            raise ValueError(
                f"{self.table} is no longer the gallery that {folder} was built from, by its embeddings.json: "
                "build it again"
            )
        with naming(folder / "embeddings.json"):
            if made_of.photos != len(self.metadata):
                raise ValueError(f"photos is {made_of.photos}, but {self.table} has {len(self.metadata)}")
        self.embeddings = read_embeddings(folder / "embeddings.npy", made_of.photos, made_of.storage)
        self.index = (CompressedIndex if self.info.index_type == "ivfpq" else ExactIndex).load(folder)
        with naming(folder / FILENAME):
            self._check(made_of)

    def _check(self, made_of: EmbeddingInfo) -> None:
        """Raise ``ValueError`` where index and embeddings are not of each other."""
        if self.info.dtype != made_of.dtype:
            raise ValueError(f"dtype is {self.info.dtype}, but the embeddings were made in {made_of.dtype}")
        own = len(self.index.components) if isinstance(self.index, ExactIndex) else 0  # the other chooses its own
        if self.info.components != own:
            raise ValueError(f"components is {self.info.components}, but index.npz has {own}")
        length = self.embeddings.shape[1]
        if self.index.dimension != length:
            raise ValueError(
                f"the index is of embeddings of length {self.index.dimension}, embeddings.npy has {length}"
            )
        if self.index.last_row >= made_of.photos:
            raise ValueError(f"the index has row {self.index.last_row} of {made_of.photos} photos")


class Gallery:
    """An index folder, ready to be searched.

    >>> gallery = Gallery(Path("dataset/earth/gallery/index"))  # doctest: +SKIP
    >>> rows, scores = gallery.search(encoder.encode([photo]), topk=20)  # doctest: +SKIP
    >>> gallery.metadata.iloc[rows[0]]  # doctest: +SKIP

    Raises:
        FileNotFoundError: when ``folder`` holds no finished index.
        ValueError: when a metadata table has changed since, or naming the file, where one is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.info, self.made_of = folder, IndexInfo.load(folder), EmbeddingInfo.load(folder)
        self.parts = [GalleryPart(folder), *(GalleryPart(folder / name) for name in self.info.added)]
        for name, part in zip(self.info.added, self.parts[1:], strict=True):
            alike = ("dtype", "components", "index_type")
            if any(getattr(part.info, field) != getattr(self.info, field) for field in alike):
                raise ValueError(f"{folder / name / FILENAME}: other {', '.join(alike)} than in {folder / FILENAME}")
            if part.index.dimension != self.parts[0].index.dimension:
                raise ValueError(f"{folder / name} has embeddings of another length than {folder}")
        self.metadata = pd.concat([part.metadata for part in self.parts], ignore_index=True)
        self.table = folder / (UNION if self.info.added else self.info.gallery)  # that row numbers refer to
        lengths = [len(part.metadata) for part in self.parts]
        self._starts = np.cumsum([0, *lengths])  # row numbers of the first photos of the parts, and the end

    @property
    def digest(self) -> str:
        """SHA-256 of what the folder says it was made of, additions included."""
        made_of = [EmbeddingInfo.load(self.folder / part) for part in (".", *self.info.added)]
        return hashlib.sha256(repr((self.info, made_of)).encode()).hexdigest()

    @property
    def photos(self) -> int:
        """How many can be found."""
        return sum(part.index.photos for part in self.parts)

    def search(self, embeddings: np.ndarray, topk: int, reverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The most (``reverse``: least) similar photos of query embeddings (m, d), over all parts.

        Returns and raises what the indexes' own ``search`` does; rows are those of ``metadata``.
        """
        if not 1 <= topk <= self.photos:
            raise ValueError(f"topk is {topk}, but the index holds {self.photos} photos")
        rows, scores = [], []
        for part, start in zip(self.parts, self._starts, strict=False):
            with naming(part.folder):
                found, score = part.index.search(embeddings, min(topk, part.index.photos), reverse)
            rows.append(found + start)
            scores.append(score)
        rows, scores = np.concatenate(rows, axis=1), np.concatenate(scores, axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :topk]
        return np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)

    def check_model(self, model: str) -> None:
        """Raise ``ValueError`` unless ``model`` is the encoder that the index was built with."""
        if weights_hash(model) != self.made_of.model:
            raise ValueError(f"{self.folder} was built with another model than {model}: build it again")

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The full embeddings (..., d) float32 of some rows of ``metadata`` (...); NaN where a photo was unreadable."""
        found = np.empty((*rows.shape, self.parts[0].embeddings.shape[1]), dtype=np.float32)
        for part, start, end in zip(self.parts, self._starts, self._starts[1:], strict=False):
            own = (start <= rows) & (rows < end)
            found[own] = part.embeddings[rows[own] - start]
        return found

    def cosines(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Cosine (m, k) float32 of the full embeddings of each query (m, d) and its own photos ``rows`` (m, k).

        Raises ``ValueError``, naming the folder, for a photo whose embedding is no number: an index has none.
        """
        similarities = np.empty(rows.shape, dtype=np.float32)
        for first in range(0, len(rows), QUERY_CHUNK):
            chunk = slice(first, first + QUERY_CHUNK)
            similarities[chunk] = np.einsum("md,mkd->mk", queries[chunk], self.vectors(rows[chunk]))
        if not np.isfinite(similarities).all():
            raise ValueError(f"{self.folder}: embeddings.npy has values that are no numbers for photos that were found")
        return similarities


def add_part(folder: Path, name: str, info: IndexInfo) -> None:
    """Let the index ``folder`` know of the finished part ``folder/name``, whose photos are its last rows from now on.

    ``index.json`` is written last: until then the folder is what it was.
    """
    root = IndexInfo.load(folder)
    info.save(folder / name)
    paths = [folder / root.gallery, *(folder / part / IndexInfo.load(folder / part).gallery for part in root.added)]
    tables = [read_metadata(path) for path in [*paths, folder / name / info.gallery]]
    with atomic_path(folder / UNION) as temporary:
        pd.concat(tables).to_csv(temporary, index=False)
    replace(root, added=(*root.added, name)).save(folder)


# ---- results ----


def retrieval_rows(
    queries: pd.DataFrame, gallery: pd.DataFrame, found: np.ndarray, reverse: np.ndarray | None = None
) -> list[RetrievalRow]:
    """The retrieval table of ``queries``, whose i-th row found the rows ``found[i]`` of ``gallery``.

    ``reverse`` are the least similar photos, where they were searched for.
    """
    if reverse is None:
        reverse = np.empty((len(found), 0), dtype=np.int64)
    points = gallery[["LAT", "LON"]].to_numpy()

    def places(rows: np.ndarray) -> dict[int, tuple[float, float]]:
        return {i: (float(lat), float(lon)) for i, (lat, lon) in enumerate(points[rows])}

    return [
        RetrievalRow(number, query.IMG_ID, query.LAT, query.LON, places(most), places(least))
        for number, (query, most, least) in enumerate(zip(queries.itertuples(index=False), found, reverse, strict=True))
    ]


def save_results(folder: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write each array as ``folder/NAME.npy``. Other ``RESULTS``, which an earlier search left there, are removed."""
    for name in RESULTS - arrays.keys():
        Path(folder, f"{name}.npy").unlink(missing_ok=True)
    for name, array in arrays.items():
        write_array(Path(folder) / f"{name}.npy", array)
