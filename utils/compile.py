"""Joins what retrieval and generation found: candidate table for evaluation, GeoRanking rows for training."""

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from utils.answers import parse_answers
from utils.candidates import TEXT_COLUMNS, Candidate, CandidateRow, Query, prompt_texts
from utils.cells import Coordinate
from utils.gazetteer import Gazetteer
from utils.geodesy import haversine_km
from utils.georanking import GeoRankingRow
from utils.tables import RetrievalRow, read_generation_table, read_metadata

# Retrieval table and gallery metadata may print the same coordinate with different precision.
SAME_PLACE_DEGREES = 1e-4
NO_NAMES = ("",) * len(TEXT_COLUMNS)


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
        indices = np.load(index_path)
        if indices.ndim != 2 or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"{index_path}: {indices.dtype} of shape {indices.shape}, not integers (queries, k)")
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


def fill_names(rows: Sequence[CandidateRow]) -> tuple[list[CandidateRow], int]:
    """``rows`` with names for the candidates that have none, and how many these were.

    The names are those of the nearest populated place (``utils/gazetteer.py``), not of the area a point lies
    in. A candidate that has any name the prompt mentions keeps its names: two sources may not agree.
    """
    texts = [[list(names) for names in row.texts or [NO_NAMES] * len(row.gps)] for row in rows]
    nameless = [
        (number, i)
        for number, names in enumerate(texts)
        for i, place in enumerate(names)
        if not prompt_texts(dict(zip(TEXT_COLUMNS, place, strict=True)))
    ]
    if nameless:
        points = np.array([rows[number].gps[i] for number, i in nameless])
        found = Gazetteer().lookup(*points.T)[list(TEXT_COLUMNS)].to_numpy(object).tolist()
        for (number, i), place in zip(nameless, found, strict=True):
            texts[number][i] = place
    return [replace(row, texts=names) for row, names in zip(rows, texts, strict=True)], len(nameless)


def name_generated(queries: Sequence[Query]) -> list[Query]:
    """``queries`` with place names for the generated candidates, of the nearest populated place each."""

    def is_nameless(candidate: Candidate) -> bool:
        return candidate.source == "generation" and not candidate.texts

    nameless = [candidate for query in queries for candidate in query.candidates if is_nameless(candidate)]
    if not nameless:
        return list(queries)
    points = np.array([(candidate.latitude, candidate.longitude) for candidate in nameless])
    found = iter(Gazetteer().lookup(*points.T).to_dict("records"))
    return [
        replace(
            query,
            candidates=tuple(
                replace(candidate, texts=prompt_texts(next(found))) if is_nameless(candidate) else candidate
                for candidate in query.candidates
            ),
        )
        for query in queries
    ]


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
