"""The candidates of a photo: an index over the embeddings of a gallery, searched exactly.

A gallery may be searched by its full embeddings (cosine), or by a compressed code: the first principal
components of the embeddings. The full cosine of what was found remains available as a second opinion.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from utils.files import atomic_path
from utils.tables import RetrievalRow

CHUNK = 65_536  # gallery rows handled at a time
QUERY_CHUNK = 256
# Squared distances of faiss (float32, ||x||^2 + ||y||^2 - 2xy of vectors no longer than 2) are this near the
# true ones: what lies closer together than that is ordered anew.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class IndexInfo:
    """``index.json``: what an index folder was made from."""

    gallery: str  # path of the gallery's metadata table, relative to the index folder
    model: str  # folder or hub name of the checkpoint whose tower made the embeddings
    dtype: str
    components: int  # 0: the full embedding

    @classmethod
    def load(cls, folder: Path) -> "IndexInfo":
        """Raises ``FileNotFoundError`` when ``folder`` holds no finished index."""
        return cls(**json.loads((folder / "index.json").read_text(encoding="utf-8")))

    def save(self, folder: Path) -> None:
        with atomic_path(folder / "index.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def principal_components(embeddings: np.ndarray, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and first ``count`` principal components (count, d) of ``embeddings[rows]``, float64.

    The sign of a component is free; its largest entry is made positive, so that codes are reproducible.
    """
    chunks = np.array_split(rows, max(1, len(rows) // CHUNK))
    mean = sum(embeddings[chunk].sum(0, dtype=np.float64) for chunk in chunks) / len(rows)
    covariance = np.zeros((len(mean), len(mean)))
    for chunk in chunks:
        centred = embeddings[chunk] - mean
        covariance += centred.T @ centred
    _, vectors = np.linalg.eigh(covariance)
    components = vectors[:, ::-1][:, :count].T
    largest = np.abs(components).argmax(1)
    return mean, components * np.sign(components[np.arange(count), largest])[:, None]


class GalleryIndex:
    """Exact nearest neighbours among the codes of a gallery.

    The score of two photos is ``1 - |code - code|^2 / 2``. For full embeddings, which have length 1, this is
    their cosine; for compressed ones it is what their components can see of it (never less than the cosine).
    """

    def __init__(self, rows: np.ndarray, flat: faiss.IndexFlat, mean: np.ndarray, components: np.ndarray) -> None:
        self.rows = rows  # (n,) increasing row numbers of the gallery's metadata table
        self.flat = flat  # n codes of length C, or d for the full embedding
        self.mean = mean  # (d,), zero for the full embedding
        self.components = components  # (C, d), (0, d) for the full embedding

    @classmethod
    def build(cls, embeddings: np.ndarray, components: int, usable: np.ndarray | None = None) -> "GalleryIndex":
        """Index the rows of ``embeddings`` (n, d) that are not NaN and, if given, ``usable`` (n,) bool.

        Raises ``ValueError`` when there are fewer rows or dimensions than ``components``.
        """
        kept = ~np.isnan(embeddings[:, 0])
        rows = np.flatnonzero(kept if usable is None else kept & usable)
        dimension = embeddings.shape[1]
        if len(rows) == 0:
            raise ValueError("no photo of the gallery can be used")
        if not 0 <= components <= min(dimension, len(rows)):
            raise ValueError(
                f"{components} components of {len(rows)} embeddings of length {dimension}: "
                f"at most {min(dimension, len(rows))} are possible (0: the full embedding)"
            )
        mean, axes = np.zeros(dimension), np.empty((0, dimension))
        if components:
            mean, axes = principal_components(embeddings, rows, components)
        index = cls(rows, faiss.IndexFlatL2(components or dimension), mean, axes)
        for start in range(0, len(rows), CHUNK):
            index.flat.add(index.codes(embeddings[rows[start : start + CHUNK]]))
        return index

    def save(self, folder: Path) -> None:
        """Write ``index.faiss`` (codes) and ``index.npz`` (their rows, mean and components)."""
        with atomic_path(folder / "index.faiss") as temporary:
            faiss.write_index(self.flat, str(temporary))
        with atomic_path(folder / "index.npz") as temporary:
            np.savez(temporary, rows=self.rows, mean=self.mean, components=self.components)

    @classmethod
    def load(cls, folder: Path) -> "GalleryIndex":
        flat = faiss.read_index(str(folder / "index.faiss"))
        with np.load(folder / "index.npz") as arrays:
            return cls(arrays["rows"], flat, arrays["mean"], arrays["components"])

    def codes(self, embeddings: np.ndarray) -> np.ndarray:
        """(m, d) -> (m, C) float32, or the embeddings as they are when the index is of full ones."""
        if not len(self.components):
            return np.ascontiguousarray(embeddings, dtype=np.float32)
        return ((embeddings - self.mean) @ self.components.T).astype(np.float32)

    def search(self, embeddings: np.ndarray, topk: int, reverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The ``topk`` most similar gallery photos of each query embedding (m, d).

        With ``reverse`` the index is searched with the negated codes instead: of full embeddings this finds
        the least similar photos, of compressed ones those most opposite to the query as seen from the
        gallery's mean.

        Returns:
            Row numbers of the gallery's metadata (m, topk) int64 and scores (m, topk) float32 (of the negated
            query with ``reverse``), highest first, equal scores by row number.

        Raises:
            ValueError: when the gallery has fewer than ``topk`` photos.
        """
        if not 1 <= topk <= len(self.rows):
            raise ValueError(f"topk is {topk}, but the index holds {len(self.rows)} photos")
        codes = self.codes(embeddings) * np.float32(-1 if reverse else 1)
        places = np.empty((len(codes), topk), dtype=np.int64)
        squares = np.empty((len(codes), topk))
        for start in range(0, len(codes), QUERY_CHUNK):
            chunk = slice(start, start + QUERY_CHUNK)
            places[chunk], squares[chunk] = self._nearest(codes[chunk], topk)
        return self.rows[places], (1 - squares / 2).astype(np.float32)

    def _nearest(self, codes: np.ndarray, topk: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the index and squared distances, both (m, topk), nearest first, ties by position."""
        width = min(2 * topk, len(self.rows))
        _, places = self.flat.search(codes, width)
        found = self.flat.reconstruct_batch(places.ravel()).reshape(*places.shape, -1)
        squares = _squared_distances(codes[:, None], found)
        order = np.lexsort((places, squares))
        places, squares = np.take_along_axis(places, order, 1), np.take_along_axis(squares, order, 1)
        if width < len(self.rows):
            # As many near ties as faiss returned: what it left out may belong here.
            for query in np.flatnonzero(squares[:, -1] - squares[:, topk - 1] <= TOLERANCE):
                places[query, :topk], squares[query, :topk] = self._nearest_of_all(codes[query], topk)
        return places[:, :topk], squares[:, :topk]

    def _nearest_of_all(self, code: np.ndarray, topk: int) -> tuple[np.ndarray, np.ndarray]:
        """The same for one query, by comparing it with every photo."""
        places, squares = np.empty(0, dtype=np.int64), np.empty(0)
        for start in range(0, len(self.rows), CHUNK):
            codes = self.flat.reconstruct_n(start, min(CHUNK, len(self.rows) - start))
            squares = np.append(squares, _squared_distances(code, codes))
            places = np.append(places, np.arange(start, start + len(codes)))
            best = np.argsort(squares, kind="stable")[:topk]
            places, squares = places[best], squares[best]
        return places, squares


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64: the same for the same pair wherever it stands."""
    return np.square(a.astype(np.float64) - b).sum(-1)


def cosines(queries: np.ndarray, embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Cosine (m, k) float32 of each query (m, d) with its own photos ``embeddings[rows]``, rows (m, k)."""
    similarities = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), QUERY_CHUNK):
        chunk = slice(start, start + QUERY_CHUNK)
        similarities[chunk] = np.einsum("md,mkd->mk", queries[chunk], embeddings[rows[chunk]])
    return similarities


def retrieval_rows(
    queries: pd.DataFrame, gallery: pd.DataFrame, found: np.ndarray, reverse: np.ndarray
) -> list[RetrievalRow]:
    """The retrieval table of ``queries``, whose i-th row found the rows ``found[i]`` of ``gallery``."""
    points = gallery[["LAT", "LON"]].to_numpy()

    def places(rows: np.ndarray) -> dict[int, tuple[float, float]]:
        return {i: (float(lat), float(lon)) for i, (lat, lon) in enumerate(points[rows])}

    return [
        RetrievalRow(number, query.IMG_ID, query.LAT, query.LON, places(most), places(least))
        for number, (query, most, least) in enumerate(zip(queries.itertuples(index=False), found, reverse, strict=True))
    ]


def save_results(folder: str | os.PathLike, arrays: dict[str, np.ndarray]) -> None:
    """Write each array as ``folder/NAME.npy``."""
    for name, array in arrays.items():
        with atomic_path(Path(folder) / f"{name}.npy") as temporary:
            np.save(temporary, array)
