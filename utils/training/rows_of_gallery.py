"""GeoRanking rows whose queries are gallery photos themselves, as the released ones were made from MP16.

A gallery photo finds itself first, and then photos that show the truth without being a guess at it. Left out of
its references are

    itself, and every photo of the same id
    photos of the same owner, where owners are known
    near-copies: photos no more than ``CopyRule.metres`` away with a cosine of at least ``CopyRule.cosine``

A near-copy is both: another view from the same spot is a good candidate, and a like view elsewhere is a hard one.
What remains, best first, are the references; the last ``NUM_NEGATIVES`` of them, the tail of the list, serve as hard
negatives in the prompt of training (``utils/training/groups.py``).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import pandas as pd

from utils.geography.gazetteer import TEXT_COLUMNS
from utils.geography.geodesy import Coordinate, haversine_km
from utils.retrieval.gallery import Gallery
from utils.tables.metadata import read_column
from utils.training.copy_rule import CopyRule
from utils.training.georanking import GeoRankingRow
from utils.training.rows_of_queries import texts_of

CHUNK = 256  # queries searched at a time
SPARE = 12  # photos searched for beyond those wanted; more, where more are copies


def choose_queries(gallery: Gallery, count: int, seed: int) -> np.ndarray:
    """``count`` rows of photos that can be found, in random order; a larger count only adds rows behind.

    Raises ``ValueError`` when there are not so many.
    """
    if not 1 <= count <= gallery.photos:
        raise ValueError(f"{count} rows of a gallery with {gallery.photos} usable photos: at least 1, at most all")
    order = np.random.default_rng(seed).permutation(np.flatnonzero(gallery.metadata["LAT"].notna()))
    # A photo that could not be read has no embedding; only those of the queries are looked at, not the whole gallery's.
    chosen = np.empty(0, dtype=np.int64)
    for start in range(0, len(order), CHUNK):
        if len(chosen) >= count:
            break
        rows = order[start : start + CHUNK]
        chosen = np.append(chosen, rows[~np.isnan(gallery.vectors(rows)[:, 0])])
    return chosen[:count]


def read_owners(paths: Sequence[str | os.PathLike], column: str) -> np.ndarray:
    """A number (n,) for the owner of each photo of some metadata tables, -1 where the cell is empty.

    Raises ``ValueError``, naming the file, where one lacks the column.
    """
    owners = pd.concat([read_column(path, column) for path in paths])
    return pd.factorize(owners.where(owners != ""))[0]


class ReferenceFinder:
    """Finds the references of gallery photos."""

    def __init__(self, gallery: Gallery, count: int, rule: CopyRule, owners: np.ndarray | None = None) -> None:
        """``count`` references a photo; ``owners`` (n,) as ``read_owners`` returns them.

        Raises ``ValueError`` when the gallery has not so many other photos.
        """
        if not 1 <= count < gallery.photos:
            raise ValueError(f"{count} references in a gallery with {gallery.photos} usable photos")
        self.gallery, self.count, self.rule, self.owners = gallery, count, rule, owners
        self.ids = pd.factorize(gallery.metadata["IMG_ID"])[0]
        self.points = gallery.metadata[["LAT", "LON"]].to_numpy()

    def find(self, queries: np.ndarray) -> list[np.ndarray]:
        """Rows of the references of each of the rows ``queries``, best first; fewer where the gallery has no more."""
        found: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(queries)
        pending, width, size = np.arange(len(queries)), self.count + SPARE, self.gallery.photos
        while len(pending):
            width = min(width, size)
            rows, _ = self.gallery.search(self.gallery.vectors(queries[pending]), width)
            fit = ~self._excluded(queries[pending], rows)  # (pending, width)
            done = (fit.sum(1) >= self.count) | (width == size)
            for number, row, fits in zip(pending[done], rows[done], fit[done], strict=True):
                found[number] = row[fits][: self.count]
            pending, width = pending[~done], 4 * width
        return found

    def _excluded(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether each of ``rows`` (m, k) is no reference of its query (m,)."""
        excluded = self.ids[rows] == self.ids[queries, None]
        if self.owners is not None:
            excluded |= (self.owners[rows] == self.owners[queries, None]) & (self.owners[rows] >= 0)
        latitudes, longitudes = np.moveaxis(self.points[rows], -1, 0)
        metres = 1000 * haversine_km(*self.points[queries].T[..., None], latitudes, longitudes)
        alike = self.gallery.cosines(self.gallery.vectors(queries), rows) >= self.rule.cosine
        return excluded | (metres <= self.rule.metres) & alike


def gallery_rows(
    finder: ReferenceFinder,
    queries: np.ndarray,
    generated: Mapping[str, Sequence[Coordinate]],
    problems: list[str],
) -> Iterator[GeoRankingRow]:
    """A GeoRanking row for each of the gallery rows ``queries``; reference 0 is the query itself.

    ``generated`` are places guessed for each IMG_ID. Rows with fewer references than wanted are named in ``problems``;
    one without any is left out.
    """
    for start in range(0, len(queries), CHUNK):
        chunk = queries[start : start + CHUNK]
        rows = [np.append(query, found) for query, found in zip(chunk, finder.find(chunk), strict=True)]
        places = finder.gallery.metadata.iloc[np.concatenate(rows)]
        ids = iter(places["IMG_ID"].tolist())
        points = map(tuple, places[["LAT", "LON"]].to_numpy().tolist())
        texts = map(texts_of, places[list(TEXT_COLUMNS)].to_numpy(object).tolist())
        for size in map(len, rows):
            ref_ids, ref_points, ref_texts = (list(islice(part, size)) for part in (ids, points, texts))
            if size <= finder.count:
                problems.append(f"{ref_ids[0]}: {size - 1} references, since all other photos are copies of it")
            if size > 1:
                guesses = list(generated.get(ref_ids[0], ()))
                yield GeoRankingRow(ref_ids[0], ref_points[0], ref_points, ref_ids, ref_texts, guesses)
