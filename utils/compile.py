"""Joins what retrieval and generation found: candidate table for evaluation, GeoRanking rows for training."""

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.answers import parse_answers
from utils.candidates import TEXT_COLUMNS, CandidateRow, prompt_texts
from utils.cells import Coordinate
from utils.geodesy import haversine_km
from utils.georanking import GeoRankingRow
from utils.tables import RetrievalRow, read_generation_table

# Retrieval table and gallery metadata may print the same coordinate with different precision.
SAME_PLACE_DEGREES = 1e-4


@dataclass(frozen=True)
class FoundPhotos:
    """Which gallery photos the positions of a retrieval table are.

    ``indices`` (queries, k) holds row numbers of ``gallery`` (``read_metadata``), as in ``I.npy``.
    """

    indices: np.ndarray
    ids: np.ndarray  # (n,) image ids
    points: np.ndarray  # (n, 2) degrees
    names: np.ndarray  # (n, 6) place names, in the order of TEXT_COLUMNS

    @classmethod
    def of(cls, indices: np.ndarray, gallery: pd.DataFrame) -> "FoundPhotos":
        return cls(
            indices,
            gallery["IMG_ID"].to_numpy(object),
            gallery[["LAT", "LON"]].to_numpy(),
            gallery[list(TEXT_COLUMNS)].to_numpy(object),
        )

    def rows(self, query: RetrievalRow) -> np.ndarray:
        """Gallery rows of a query's usable candidates, best first.

        Raises ``ValueError`` when the gallery has another coordinate there: the files do not belong together.
        """
        positions = list(query.candidates)
        if query.number >= len(self.indices) or max(positions) >= self.indices.shape[1]:
            raise ValueError(
                f"{query.img_id}: candidate {max(positions)} in row {query.number} of the retrieval table "
                f"lies outside the index array of shape {self.indices.shape}"
            )
        rows = self.indices[query.number, positions]
        for position, row in zip(positions, rows, strict=True):
            if not 0 <= row < len(self.ids):
                raise ValueError(f"{query.img_id}: candidate {position} is row {row} of {len(self.ids)} in the gallery")
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
) -> list[CandidateRow]:
    """Rows of the candidate table.

    Args:
        retrieval: the queries.
        photos: gives the candidates their place names and photos; without it they have none.
        similarity: (queries, k) cosines of the full embeddings, as in ``S.npy``.
        generated: places guessed for each IMG_ID; a query that is absent has none.

    Raises:
        ValueError: naming the query where the inputs do not belong together.
    """
    if photos is not None and similarity is not None and photos.indices.shape != similarity.shape:
        raise ValueError(f"index array {photos.indices.shape} and similarities {similarity.shape} differ in shape")
    rows = []
    for query in retrieval:
        texts, images, cosines = [], [], []
        if photos is not None:
            found = photos.rows(query)
            texts, images = photos.names[found].tolist(), photos.ids[found].tolist()
        if similarity is not None:
            if query.number >= len(similarity) or max(query.candidates) >= similarity.shape[1]:
                raise ValueError(f"{query.img_id}: row {query.number} lies outside similarities {similarity.shape}")
            cosines = similarity[query.number, list(query.candidates)].tolist()
        rows.append(
            CandidateRow(
                query.img_id,
                query.latitude,
                query.longitude,
                list(query.candidates.values()),
                texts,
                images,
                cosines,
                list(query.reverse.values()),
                (generated or {}).get(query.img_id, ()),
            )
        )
    return rows


def georanking_rows(
    retrieval: Sequence[RetrievalRow],
    photos: FoundPhotos,
    metadata: pd.DataFrame,
    generated: Mapping[str, Sequence[Coordinate]] | None = None,
) -> Iterator[GeoRankingRow]:
    """Rows of GeoRanking: reference 0 is the query itself, then follow its retrieved photos, best first.

    Args:
        retrieval: the queries.
        photos: their candidates in the gallery.
        metadata: place names of the queries (``read_metadata``), by IMG_ID.
        generated: places guessed for each IMG_ID.

    Raises:
        ValueError: naming the query where the inputs do not belong together.
    """
    names = dict(zip(metadata["IMG_ID"], metadata[list(TEXT_COLUMNS)].to_numpy(object), strict=True))
    for query in retrieval:
        if query.img_id not in names:
            raise ValueError(f"{query.img_id} stands in the retrieval table but not in the metadata of the queries")
        found = photos.rows(query)
        point = (query.latitude, query.longitude)
        yield GeoRankingRow(
            query.img_id,
            point,
            [point, *query.candidates.values()],
            [query.img_id, *photos.ids[found]],
            [texts_of(place) for place in (names[query.img_id], *photos.names[found])],
            list((generated or {}).get(query.img_id, ())),
        )


def texts_of(names: Sequence[str]) -> list[str]:
    """What the prompt says of six place names, in the order of TEXT_COLUMNS."""
    return list(prompt_texts(dict(zip(TEXT_COLUMNS, names, strict=True))))


class RankDistances:
    """How far the references of GeoRanking rows lie from the truth, by rank; 4 bytes a reference are kept."""

    def __init__(self) -> None:
        self.km: list[array] = []  # by rank, of the rows that have it

    def watch(self, rows: Iterable[GeoRankingRow]) -> Iterator[GeoRankingRow]:
        """Pass ``rows`` on and measure them."""
        for row in rows:
            latitudes, longitudes = np.array(row.ref_gps).T
            distances = haversine_km(*row.gps, latitudes, longitudes).tolist()
            self.km += [array("f") for _ in distances[len(self.km) :]]
            for rank, distance in enumerate(distances):
                self.km[rank].append(distance)
            yield row

    def medians(self) -> list[float]:
        """Median great-circle distance in km from the truth to reference 0, 1, ... of the rows that have it."""
        return [float(np.median(distances)) for distances in self.km]
