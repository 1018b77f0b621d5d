"""Exact nearest neighbours among the photos of a gallery.

A gallery may be searched by its full embeddings (cosine), or by a compressed code: the first principal
components of the embeddings.
"""

from pathlib import Path

import faiss
import numpy as np

from utils.jobs.files import atomic_path
from utils.jobs.reading import naming
from utils.retrieval.index_files import read_arrays, read_faiss

CHUNK = 65_536  # gallery rows handled at a time
QUERY_CHUNK = 256
# Squared distances of faiss (float32, ||x||^2 + ||y||^2 - 2xy of vectors no longer than 2) are this near the
# true ones: what lies closer together than that is ordered anew.
TOLERANCE = 1e-5


def usable_embeddings(embeddings: np.ndarray, usable: np.ndarray | None = None) -> np.ndarray:
    """Rows of ``embeddings`` (n, d) that are not NaN and, if given, ``usable`` (n,) bool.

    Raises ``ValueError`` when there are none.
    """
    kept = ~np.isnan(embeddings[:, 0])
    rows = np.flatnonzero(kept if usable is None else kept & usable)
    if len(rows) == 0:
        raise ValueError("no photo of the gallery can be used")
    return rows


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


class ExactIndex:
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
    def build(cls, embeddings: np.ndarray, components: int, usable: np.ndarray | None = None) -> "ExactIndex":
        """Index the rows of ``embeddings`` (n, d) that are not NaN and, if given, ``usable`` (n,) bool.

        Raises ``ValueError`` when there are fewer rows or dimensions than ``components``.
        """
        rows, dimension = usable_embeddings(embeddings, usable), embeddings.shape[1]
        if not 0 <= components <= min(dimension, len(rows)):
            raise ValueError(
                f"{components} components of {len(rows)} embeddings of length {dimension}: "
                f"at most {min(dimension, len(rows))} are possible (0: the full embedding)"
            )
        mean, axes = np.zeros(dimension), np.empty((0, dimension))
        if components:
            mean, axes = principal_components(embeddings, rows, components)
        index = cls(rows, faiss.IndexFlatL2(components or dimension), mean, axes)
        index._fill(embeddings)
        return index

    def another(self, embeddings: np.ndarray, usable: np.ndarray | None = None) -> "ExactIndex":
        """An index of other photos, with the codes of this one."""
        rows = usable_embeddings(embeddings, usable)
        index = ExactIndex(rows, faiss.IndexFlatL2(self.flat.d), self.mean, self.components)
        index._fill(embeddings)
        return index

    def _fill(self, embeddings: np.ndarray) -> None:
        for start in range(0, len(self.rows), CHUNK):
            self.flat.add(self.codes(embeddings[self.rows[start : start + CHUNK]]))

    @property
    def photos(self) -> int:
        return len(self.rows)

    @property
    def last_row(self) -> int:
        return int(self.rows[-1])

    @property
    def dimension(self) -> int:
        """Length of the full embeddings."""
        return len(self.mean)

    @property
    def bytes_per_photo(self) -> int:
        """The code and its row number."""
        return 4 * self.flat.d + 8

    def save(self, folder: Path) -> None:
        """Write ``index.faiss`` (codes) and ``index.npz`` (their rows, mean and components)."""
        with atomic_path(folder / "index.faiss") as temporary:
            faiss.write_index(self.flat, str(temporary))
        with atomic_path(folder / "index.npz") as temporary:
            np.savez(temporary, rows=self.rows, mean=self.mean, components=self.components)

    @classmethod
    def load(cls, folder: Path) -> "ExactIndex":
        """What ``save`` wrote. Raises ``ValueError``, naming the file, where it is damaged."""
        flat = read_faiss(folder / "index.faiss", faiss.IndexFlatL2)
        codes = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d)
        if not len(codes) or not np.isfinite([codes.min(), codes.max()]).all():
            raise ValueError(f"{folder / 'index.faiss'} has no codes, or some that are no numbers")
        path = folder / "index.npz"
        arrays = read_arrays(path)
        with naming(path):
            if arrays.keys() != {"rows", "mean", "components"}:
                raise ValueError(f"it holds {', '.join(sorted(arrays))}, not rows, mean and components")
            index = cls(arrays["rows"], flat, arrays["mean"], arrays["components"])
            index._check()
        return index

    def _check(self) -> None:
        """Raise ``ValueError``, naming the array, where what was loaded is not finite or does not fit together."""
        rows, (photos, length) = self.rows, (self.flat.ntotal, self.flat.d)
        if rows.dtype != np.int64 or rows.shape != (photos,) or rows[0] < 0 or (np.diff(rows) <= 0).any():
            raise ValueError(f"rows must be {photos} increasing row numbers, as many as index.faiss has codes")
        for name, array in (("mean", self.mean), ("components", self.components)):
            if array.dtype != np.float64 or not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite float64")
        dimension = self.mean.size
        axes = (length if self.components.size else 0, dimension)
        fits = self.mean.ndim == 1 and self.components.shape == axes and (axes[0] > 0 or length == dimension)
        if not fits:
            raise ValueError(
                f"components {self.components.shape} and mean {self.mean.shape} do not make codes of length {length}, "
                "which index.faiss has"
            )

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
