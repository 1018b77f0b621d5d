"""GeoRanking rows of query photos: each with itself as reference 0, then with what retrieval found for it."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from utils.candidates import prompt_texts
from utils.geography.gazetteer import TEXT_COLUMNS
from utils.geography.geodesy import Coordinate, haversine_km
from utils.tables.join import FoundPhotos
from utils.tables.retrieval_table import RetrievalRow
from utils.training.georanking import GeoRankingRow


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
