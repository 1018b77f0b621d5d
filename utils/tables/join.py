"""Joins what retrieval and generation found for each query into the rows of the candidate table."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.geography.answers import parse_answers
from utils.geography.gazetteer import TEXT_COLUMNS
from utils.geography.geodesy import Coordinate
from utils.jobs.reading import read_array
from utils.tables.candidate_table import CandidateRow
from utils.tables.generation_table import read_generation_table
from utils.tables.metadata import read_metadata
from utils.tables.retrieval_table import RetrievalRow

# Retrieval table and gallery metadata may print the same coordinate with different precision.
SAME_PLACE_DEGREES = 1e-4


@dataclass(frozen=True)
class FoundPhotos:
    """Which gallery photos the positions of a retrieval table are.

    ``indices`` (queries, k) holds row numbers of the gallery's metadata table, as in ``I.npy``.
    """

    indices: np.ndarray
    numbers: np.ndarray  # (n,) rows of the metadata table that are known here, ascending
    ids: np.ndarray  # (n,) their image ids
    points: np.ndarray  # (n, 2) degrees
    names: np.ndarray  # (n, 6) place names, in the order of TEXT_COLUMNS

    @classmethod
    def of(cls, indices: np.ndarray, gallery: pd.DataFrame) -> "FoundPhotos":
        """``gallery`` as ``read_metadata`` returns it; it needs no other rows than those of ``indices``."""
        return cls(
            indices,
            gallery.index.to_numpy(),
            gallery["IMG_ID"].to_numpy(object),
            gallery[["LAT", "LON"]].to_numpy(),
            gallery[list(TEXT_COLUMNS)].to_numpy(object),
        )

    @classmethod
    def read(cls, index_path: str | os.PathLike, gallery_path: str | os.PathLike) -> "FoundPhotos":
        """From ``I.npy`` and the metadata table, of which only the rows that were found are kept."""
        indices = read_array(index_path, ("int64", "int32", "uint64", "uint32"), 2)
        return cls.of(indices, read_metadata(gallery_path, np.unique(indices)))

    def rows(self, query: RetrievalRow) -> np.ndarray:
        """Where a query's usable candidates stand in ``ids``, ``points`` and ``names``, best first.

        Raises ``ValueError`` when the gallery has another coordinate there: the files do not belong together.
        """
        positions = list(query.candidates)
        if query.number >= len(self.indices) or max(positions) >= self.indices.shape[1]:
            raise ValueError(
                f"{query.img_id}: candidate {max(positions)} in row {query.number} of the retrieval table "
                f"lies outside the index array of shape {self.indices.shape}"
            )
        wanted = self.indices[query.number, positions]
        rows = np.searchsorted(self.numbers, wanted)
        for position, number, row in zip(positions, wanted, rows, strict=True):
            if row == len(self.numbers) or self.numbers[row] != number:
                raise ValueError(f"{query.img_id}: candidate {position} is row {number}, which the gallery lacks")
            if not np.allclose(self.points[row], query.candidates[position], rtol=0, atol=SAME_PLACE_DEGREES):
                raise ValueError(
                    f"{query.img_id}: candidate {position} lies at {query.candidates[position]}, "
                    f"but its gallery photo {self.ids[row]} at {tuple(self.points[row].tolist())}: "
                    "retrieval table, index array and gallery metadata do not belong together"
                )
        return rows


def generated_places(path: str | os.PathLike) -> tuple[dict[str, list[Coordinate]], int, list[str]]:
    """Coordinates in the answers of a generation table.

    Returns:
        Places by IMG_ID, how many answers name no usable place, and the problems of reading the table.
    """
    rows, problems = read_generation_table(path)
    places, unusable = {}, 0
    for row in rows:
        places[row.img_id], dropped = parse_answers(row.answers)
        unusable += dropped
    return places, unusable, problems


def candidate_rows(
    retrieval: Sequence[RetrievalRow],
    photos: FoundPhotos | None = None,
    similarity: np.ndarray | None = None,
    generated: Mapping[str, Sequence[Coordinate]] | None = None,
    geoclip: np.ndarray | None = None,
) -> list[CandidateRow]:
    """Rows of the candidate table.

    Args:
        retrieval: the queries.
        photos: gives the candidates their place names and photos; without it they have none.
        similarity: (queries, k) cosines of the full embeddings, as in ``S.npy``.
        generated: places guessed for each IMG_ID; a query that is absent has none.
        geoclip: (queries, k) cosines of photo and place, as in ``G.npy``.

    Raises:
        ValueError: naming the query where the inputs do not belong together.
    """
    if photos is not None and similarity is not None and photos.indices.shape != similarity.shape:
        raise ValueError(f"index array {photos.indices.shape} and similarities {similarity.shape} differ in shape")
    rows = []
    for query in retrieval:
        texts, images = [], []
        if photos is not None:
            found = photos.rows(query)
            texts, images = photos.names[found].tolist(), photos.ids[found].tolist()
        rows.append(
            CandidateRow(
                query.img_id,
                query.latitude,
                query.longitude,
                list(query.candidates.values()),
                texts,
                images,
                _of_candidates(query, similarity),
                list(query.reverse.values()),
                (generated or {}).get(query.img_id, ()),
                _of_candidates(query, geoclip),
            )
        )
    return rows


def _of_candidates(query: RetrievalRow, similarities: np.ndarray | None) -> list[float]:
    """The ``similarities`` (queries, k) of the query's usable candidates, best first; none without any."""
    if similarities is None:
        return []
    if query.number >= len(similarities) or max(query.candidates) >= similarities.shape[1]:
        raise ValueError(f"{query.img_id}: row {query.number} lies outside similarities {similarities.shape}")
    return similarities[query.number, list(query.candidates)].tolist()
