"""A gallery too large to compare with every photo: an IVF-PQ index names a shortlist, the full embeddings decide.

Embeddings are projected onto their principal components, sorted into cells (k-means), and kept as a product-quantised
code of their offset from the cell's centre. A search looks through the cells nearest to the query, takes a shortlist
by the codes, and orders it by the cosine of the full embeddings, which lie memory-mapped on disk. What is lost against
exact search is what the shortlist misses; how many cells to look through is measured when the index is built.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np

from utils.jobs.files import atomic_path
from utils.jobs.progress import progress_bar
from utils.jobs.reading import naming, read_array
from utils.retrieval.exact_index import usable_embeddings
from utils.retrieval.index_files import read_arrays, read_faiss

CHUNK = 16_384  # embeddings handled at a time
SHORTLIST = 10  # photos ordered anew for each one asked for
DIMENSIONS_A_BYTE = 4  # principal components that share a byte of the code
MIN_PHOTOS = 9_984  # 39 for each value of a byte, below which faiss warns of overfitting
SAMPLE_A_CELL = 64  # photos to train a cell with: faiss asks for 39 to 256
MAX_CELLS = 65_536
ITERATIONS = 10  # of k-means
TRIED_PROBES = (8, 16, 32, 64, 128, 256, 512)
WANTED_RECALL = 0.95
CHECKED_QUERIES, CHECKED_TOPK = 200, 20


class ExactTop:
    """The most similar photos of some queries, from a gallery that passes by in chunks."""

    def __init__(self, queries: np.ndarray, topk: int, own_rows: np.ndarray | None = None) -> None:
        self.queries = queries  # (m, d) float32
        self.own_rows = own_rows  # (m,) rows of the gallery that the queries are themselves, and may not find
        self.scores = np.full((len(queries), topk), -np.inf, dtype=np.float32)  # best first
        self.rows = np.full((len(queries), topk), -1, dtype=np.int64)

    def update(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Compare the queries with ``vectors`` (n, d), the rows ``rows`` (n,) of the gallery."""
        scores = self.queries @ vectors.T  # (m, n)
        if self.own_rows is not None:
            scores[self.own_rows[:, None] == rows] = -np.inf
        scores = np.concatenate([self.scores, scores], axis=1)
        topk = self.rows.shape[1]
        best = np.argpartition(-scores, topk - 1, axis=1)[:, :topk]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable"), 1)
        rows = np.concatenate([self.rows, np.broadcast_to(rows, (len(scores), len(rows)))], axis=1)
        self.scores, self.rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    """Share of the rows ``exact`` (m, k) that are among those ``found`` (m, n)."""
    return float(np.mean([np.isin(wanted, got).mean() for wanted, got in zip(exact, found, strict=True)]))


def cells_for(photos: int) -> int:
    """How many cells ``photos`` photos are sorted into: twice their square root."""
    return int(min(MAX_CELLS, 2 * photos**0.5))


def check_compressible(photos: int, dimension: int, code_bytes: int) -> None:
    """Raise ``ValueError``, naming the flag, where embeddings (photos, dimension) are too few or too short."""
    if photos < MIN_PHOTOS:
        raise ValueError(
            f"{photos:,} photos are too few for an ivfpq index, which takes at least {MIN_PHOTOS:,}: --index_type exact"
        )
    if code_bytes > dimension:
        raise ValueError(f"--code_bytes {code_bytes}: at most {dimension}, the length of the embeddings")


class Probes(NamedTuple):
    """How many cells a search looks through, and the recall@20 measured with so many."""

    count: int
    recall: float


class CompressedIndex:
    """Trained by ``train``, filled by ``add``. ``index`` is a PCA before an IVF-PQ index whose ids are gallery rows."""

    def __init__(
        self, index: faiss.IndexPreTransform, most: Probes, least: Probes | None, embeddings: np.ndarray | None = None
    ) -> None:
        self.index = index
        self.most = most  # for the most similar photos
        self.least = least  # for the least similar ones, in more cells or in fewer; None: not measured
        self.embeddings = embeddings  # (n, d), mapped from disk; needed by `search` only
        self._ivf = faiss.downcast_index(index.index)

    @property
    def photos(self) -> int:
        return self.index.ntotal

    @property
    def last_row(self) -> int:
        """At least: the row numbers themselves stay on disk."""
        return self.photos - 1

    @property
    def dimension(self) -> int:
        """Length of the full embeddings."""
        return self.index.d

    @property
    def bytes_per_photo(self) -> int:
        """The code and an 8-byte id."""
        return self._ivf.code_size + 8

    @classmethod
    def train(cls, sample: Iterable[np.ndarray], cells: int, code_bytes: int) -> "CompressedIndex":
        """An empty index for embeddings like those of ``sample``: chunks (n, d) float32, each itself a fair sample.

        Raises ``ValueError`` when the sample is too small or the embeddings too short.
        """
        projection, projected = None, []
        for chunk in sample:
            if projection is None:
                dimension = chunk.shape[1]
                if not 1 <= code_bytes <= dimension:
                    raise ValueError(f"{code_bytes} bytes a photo: at most {dimension}, the length of the embeddings")
                components = min(DIMENSIONS_A_BYTE * code_bytes, dimension - dimension % code_bytes)
                # Turned at random afterwards: the bytes of a code are to carry equal shares of the variance.
                projection = faiss.PCAMatrix(dimension, components, 0, True)
                projection.train(chunk)
            projected.append(projection.apply(chunk))
        photos = sum(map(len, projected))
        if photos < max(MIN_PHOTOS, cells):
            raise ValueError(f"{photos:,} photos are too few for an ivfpq index of {cells} cells: search exactly")
        ivf = faiss.IndexIVFPQ(faiss.IndexFlatL2(components), components, cells, code_bytes, 8)
        ivf.cp.niter = ivf.pq.cp.niter = ITERATIONS
        ivf.train(np.concatenate(projected))
        everything = Probes(cells, float("nan"))  # until `tune` has measured
        return cls(faiss.IndexPreTransform(projection, ivf), everything, everything)

    @classmethod
    def build(
        cls, embeddings: np.ndarray, code_bytes: int, usable: np.ndarray | None = None, reverse: bool = False
    ) -> "CompressedIndex":
        """Index the rows of ``embeddings`` (n, d) that are not NaN and, if given, ``usable`` (n,) bool.

        With ``reverse`` it is measured, too, through how many cells the least similar photos are found: only then can
        they be searched for. The embeddings are read from disk three times and never held in memory.
        """
        rows = usable_embeddings(embeddings, usable)
        random = np.random.default_rng(0)
        cells = cells_for(len(rows))
        sample = random.permutation(rows)[: SAMPLE_A_CELL * cells]
        index = cls.train((_read(embeddings, np.sort(sample[part])) for part in _parts(len(sample))), cells, code_bytes)
        checked = np.sort(random.choice(rows, min(CHECKED_QUERIES, len(rows)), replace=False))
        queries = _read(embeddings, checked)
        most = ExactTop(queries, CHECKED_TOPK, checked)
        least = ExactTop(-queries, CHECKED_TOPK, checked) if reverse else None
        index._fill(embeddings, rows, [most, least] if least else [most])
        index.tune(most, least)
        return index

    def another(self, embeddings: np.ndarray, usable: np.ndarray | None = None) -> "CompressedIndex":
        """An index of other photos, with the cells and codes of this one."""
        # Not a clone: faiss has none of an index that is mapped from disk.
        own = self._ivf
        ivf = faiss.IndexIVFPQ(faiss.clone_index(own.quantizer), own.d, own.nlist, own.pq.M, own.pq.nbits)
        ivf.pq, ivf.is_trained = own.pq, True
        ivf.precompute_table()
        projection = faiss.Cloner().clone_VectorTransform(self.index.chain.at(0))
        other = CompressedIndex(faiss.IndexPreTransform(projection, ivf), self.most, self.least)
        other._fill(embeddings, usable_embeddings(embeddings, usable))
        return other

    def _fill(self, embeddings: np.ndarray, rows: np.ndarray, checks: Sequence[ExactTop] = ()) -> None:
        self.embeddings = embeddings
        with progress_bar(total=len(rows), desc="indexing", unit="photo") as progress:
            for part in _parts(len(rows)):
                chunk = _read(embeddings, rows[part])
                self.add(chunk, rows[part])
                for check in checks:
                    check.update(chunk, rows[part])
                progress.update(len(chunk))

    def add(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Add embeddings (n, d) float32 with their row numbers (n,) int64."""
        self.index.add_with_ids(vectors, rows)

    def tune(self, most: ExactTop, least: ExactTop | None = None) -> None:
        """Settle how many cells to look through: the fewest that reach WANTED_RECALL.

        Both have seen the whole gallery; the queries of ``most`` are photos, those of ``least`` photos negated.
        """
        self.most = self._fewest_probes(most.queries, most.rows)
        self.least = self._fewest_probes(least.queries, least.rows) if least else None

    def _fewest_probes(self, queries: np.ndarray, exact: np.ndarray) -> Probes:
        for count in [*(tried for tried in TRIED_PROBES if tried < self._ivf.nlist), self._ivf.nlist]:
            # One more, for the photo that is the query itself. What is on the shortlist and among the exact best is
            # among the best of the shortlist.
            shortlist = self.shortlist(queries, SHORTLIST * (exact.shape[1] + 1), count)
            probes = Probes(count, recall(shortlist, exact))
            if probes.recall >= WANTED_RECALL or count >= TRIED_PROBES[-1]:
                break
        return probes

    def shortlist(self, queries: np.ndarray, width: int, probes: int) -> np.ndarray:
        """Rows (m, width) int64 that are nearest by their codes; -1 where ``probes`` cells hold fewer."""
        self._ivf.nprobe = probes
        return self.index.search(queries, width)[1]

    def search(self, embeddings: np.ndarray, topk: int, reverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The ``topk`` most similar gallery photos of each query embedding (m, d), or the least similar ones.

        Returns:
            Row numbers (m, topk) int64 and cosines (m, topk) float32 (of the negated query with ``reverse``),
            highest first, equal ones by row number.

        Raises:
            ValueError: when the gallery has fewer than ``topk`` photos, or the index was not built for ``reverse``, or
                it finds photos that there are none of or that are no numbers.
        """
        probes = self.least if reverse else self.most
        if probes is None:
            raise ValueError("the index was built without --reverse: the least similar photos cannot be searched for")
        if not 1 <= topk <= self.photos:
            raise ValueError(f"topk is {topk}, but the index holds {self.photos} photos")
        queries = np.ascontiguousarray(-embeddings if reverse else embeddings, dtype=np.float32)
        width = min(SHORTLIST * topk, self.photos)
        shortlist = self.shortlist(queries, width, probes.count)
        short = (shortlist[:, :topk] < 0).any(1)
        if short.any():  # the cells nearest to these queries are nearly empty
            shortlist[short] = self.shortlist(queries[short], width, self._ivf.nlist)
        rows = np.empty((len(queries), topk), dtype=np.int64)
        scores = np.empty((len(queries), topk), dtype=np.float32)
        for query, found in enumerate(shortlist):
            found = np.sort(found[found >= 0])  # in the order of the file
            if found[-1] >= len(self.embeddings):
                raise ValueError(f"index.faiss has row {found[-1]} of {len(self.embeddings)} photos")
            cosines = np.einsum("nd,d->n", _read(self.embeddings, found), queries[query])
            if not np.isfinite(cosines).all():
                raise ValueError("embeddings.npy has values that are no numbers for photos that index.faiss has")
            best = np.argsort(-cosines, kind="stable")[:topk]
            rows[query], scores[query] = found[best], cosines[best]
        return rows, scores

    def save(self, folder: Path) -> None:
        """Write ``index.faiss``, and into ``index.npz`` how many cells to look through."""
        with atomic_path(folder / "index.faiss") as temporary:
            faiss.write_index(self.index, str(temporary))
        with atomic_path(folder / "index.npz") as temporary:
            np.savez(temporary, most=self.most, **({"least": self.least} if self.least else {}))

    @classmethod
    def load(cls, folder: Path) -> "CompressedIndex":
        """Codes and embeddings stay on disk and are mapped into memory.

        Raises ``ValueError``, naming the file, where one is damaged.
        """
        index = read_faiss(folder / "index.faiss", faiss.IndexPreTransform, faiss.IO_FLAG_MMAP)
        ivf = faiss.downcast_index(index.index)
        if not isinstance(ivf, faiss.IndexIVFPQ) or index.chain.size() != 1 or not index.is_trained:
            raise ValueError(f"{folder / 'index.faiss'} holds no PCA before an IVF-PQ index")
        path = folder / "index.npz"
        arrays = read_arrays(path)
        with naming(path):
            if not {"most"} <= arrays.keys() <= {"most", "least"}:
                raise ValueError(f"it holds {', '.join(sorted(arrays))}, not most and perhaps least")
            probes = {name: _probes(name, array, ivf.nlist) for name, array in arrays.items()}
        embeddings = read_array(folder / "embeddings.npy", ("float32", "float16"), 2)
        return cls(index, probes["most"], probes.get("least"), embeddings)


def _probes(name: str, array: np.ndarray, cells: int) -> Probes:
    """Raises ``ValueError`` unless ``array`` is a number of cells and a share."""
    if array.shape != (2,) or array.dtype != np.float64 or not 1 <= array[0] <= cells or array[0] % 1:
        raise ValueError(f"{name} must be a number of cells, 1 to {cells}, and the recall with so many")
    return Probes(int(array[0]), float(array[1]))


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def _read(embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(embeddings[rows], dtype=np.float32)
