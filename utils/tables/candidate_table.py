"""The candidate table: queries with the places to rank for them, the input of evaluate.py.

It is the CSV file of the released system (``im2gps3k.csv``): IMG_ID, LAT, LON, and columns with Python lists, one item
a candidate, best first:

    candidate_gps_lis         (latitude, longitude) of the retrieved gallery photos
    candidate_text_lis        their six place names, in the order of TEXT_COLUMNS
    candidate_img_lis         their image ids
    reverse_gps_lis           the least similar gallery photos; GeoRanker does not read them
    zs_gps_lis                coordinates that an LVLM generated
    candidate_similarity_lis  cosine of the full embeddings (a column of this project)
    candidate_geoclip_lis     GeoCLIP's cosine of photo and place (another one); a candidate that has it and no image is
                              one of GeoCLIP's points

In the released tables (0, 0) stands for a generated answer that could not be read. It is read like any other
candidate, as the published figures include it; tables compiled here have none.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from utils.candidates import NUM_NEGATIVES, Candidate, Query, pick_candidates, prompt_texts
from utils.geography.gazetteer import TEXT_COLUMNS
from utils.geography.geodesy import Coordinate
from utils.tables.cells import (
    has_no_value,
    parse_coordinates,
    parse_list,
    parse_truth,
    plain,
    read_coordinate,
    read_rows,
    shortened,
    write_rows,
)
from utils.tables.layout import is_text

# The columns of the released table, and those that this project adds, at the end.
TABLE_COLUMNS = ("IMG_ID", "LAT", "LON", "candidate_gps_lis", "candidate_text_lis", "candidate_img_lis")
TABLE_COLUMNS += ("reverse_gps_lis", "zs_gps_lis", "candidate_similarity_lis", "candidate_geoclip_lis")


def read_candidate_table(
    path: str | os.PathLike, topn: int, topn_zs: int, merge_km: float = 0.0, only: str | None = None
) -> tuple[list[Query], list[str]]:
    """The queries of a candidate table, with the candidates that evaluation ranks.

    Their negative examples are the last NUM_NEGATIVES retrieved candidates, whatever ``topn``; GeoCLIP's points are
    ranked as guesses are, and are no negative examples.

    Args:
        path: the CSV file; only IMG_ID, LAT, LON and candidate_gps_lis must be there.
        topn: retrieved candidates to take, the best first.
        topn_zs: generated candidates to take, after the retrieved ones.
        merge_km: radius of ``pick_candidates``.
        only: IMG_ID of the one query that is wanted; the others are not looked at.

    Returns:
        Queries in the order of the file, and problems that name file, row, IMG_ID and column. A candidate
        with an unusable coordinate, text, image or similarity is dropped whole, before the best are taken; a
        row is skipped when its truth is unusable, a list cannot be read or differs from the others in length,
        or nothing is left to rank.

    Raises:
        ValueError: naming the file when it is no candidate table.
    """
    queries, problems = [], []
    for where, cells in read_rows(path, ["IMG_ID", "LAT", "LON", "candidate_gps_lis"]):
        if only is not None and cells["IMG_ID"] != only:
            continue
        try:
            latitude, longitude = parse_truth(cells)
            retrieved = _retrieved(cells, where, problems)
            generated = [
                Candidate(*point, source="generation")
                for point in parse_coordinates(cells, "zs_gps_lis", where, problems)
            ]
            candidates = pick_candidates(retrieved, generated, topn, topn_zs, merge_km)
            if not candidates:
                raise ValueError("no usable candidate")
        except ValueError as error:
            problems.append(f"{where}: {error}; row skipped")
            continue
        photos = [candidate for candidate in retrieved if candidate.source == "retrieval"]
        negatives = tuple(photos[max(0, len(photos) - NUM_NEGATIVES) :])
        queries.append(Query(cells["IMG_ID"], candidates, negatives, latitude, longitude))
    return queries, problems


def _retrieved(cells: Mapping[str, str], where: str, problems: list[str]) -> list[Candidate]:
    """The usable retrieved candidates of a row; what was dropped is added to ``problems``."""
    given = [column for column in _OPTIONAL_COLUMNS if not has_no_value(cells.get(column, ""))]
    lists = {column: parse_list(cells, column) for column in ["candidate_gps_lis", *given]}
    _check_lengths(lists)
    retrieved = []
    for i in range(len(lists["candidate_gps_lis"])):
        try:
            item = {column: _parse_item(column, i, items[i]) for column, items in lists.items()}
        except ValueError as error:
            problems.append(f"{where}: {error}; candidate dropped")
            continue
        image, geoclip = item.get("candidate_img_lis"), item.get("candidate_geoclip_lis")
        retrieved.append(
            Candidate(
                *item["candidate_gps_lis"],
                texts=item.get("candidate_text_lis", ()),
                image=image,
                source="geoclip" if geoclip is not None and image is None else "retrieval",
                similarity=item.get("candidate_similarity_lis"),
                geoclip=geoclip,
            )
        )
    return retrieved


def _check_lengths(lists: Mapping[str, Sequence]) -> None:
    if len({len(items) for items in lists.values()}) > 1:
        lengths = ", ".join(f"{column} {len(items)}" for column, items in lists.items())
        raise ValueError(f"lists of different lengths ({lengths})")


def _parse_item(column: str, i: int, item: Any) -> Any:
    try:
        return _ITEM_PARSERS[column](item)
    except ValueError as error:
        raise ValueError(f"{column}[{i}]: {error}") from None


def _parse_texts(names: Any) -> tuple[str, ...]:
    """What the prompt says of six place names; None and NaN are missing names."""
    if not isinstance(names, (list, tuple)) or len(names) != len(TEXT_COLUMNS):
        raise ValueError(f"{shortened(repr(names))} is not a list of {len(TEXT_COLUMNS)} place names")
    names = ["" if name is None or (isinstance(name, float) and math.isnan(name)) else name for name in names]
    if not all(isinstance(name, str) and is_text(name) for name in names):
        raise ValueError(f"{shortened(repr(names))} has a place name that is no text")
    return prompt_texts(dict(zip(TEXT_COLUMNS, names, strict=True)))


def _parse_image(image_id: Any) -> str:
    if not isinstance(image_id, str) or not image_id or not is_text(image_id):
        raise ValueError(f"{image_id!r} is not an image id")
    return image_id


def _parse_similarity(value: Any) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return float(value)


_OPTIONAL_COLUMNS = ("candidate_text_lis", "candidate_img_lis", "candidate_similarity_lis", "candidate_geoclip_lis")
_ITEM_PARSERS = {
    "candidate_gps_lis": read_coordinate,
    "candidate_text_lis": _parse_texts,
    "candidate_img_lis": _parse_image,
    "candidate_similarity_lis": _parse_similarity,
    "candidate_geoclip_lis": _parse_similarity,
}


@dataclass(frozen=True)
class CandidateRow:
    """A row of the candidate table as it is written; the lists go by candidate, best first."""

    img_id: str
    latitude: float  # truth, degrees
    longitude: float
    gps: Sequence[Coordinate]  # retrieved candidates
    texts: Sequence[Sequence[str]] = ()  # six place names each, in the order of TEXT_COLUMNS
    images: Sequence[str] = ()  # gallery photo ids
    similarity: Sequence[float] = ()  # cosine of the full embeddings
    reverse_gps: Sequence[Coordinate] = ()  # least similar gallery photos
    zs_gps: Sequence[Coordinate] = ()  # generated candidates
    geoclip: Sequence[float] = ()  # GeoCLIP's cosine of photo and place


def write_candidate_table(path: str | os.PathLike, rows: Iterable[CandidateRow]) -> None:
    """Write a candidate table that code for the released one reads: its columns, lists as Python literals.

    Texts, images and similarities have a column only if some row has them; there a row without is an empty
    cell. Raises ``ValueError`` naming the row whose lists differ in length.
    """
    lines, given = [], set()
    for row in rows:
        optional = {
            "candidate_text_lis": [list(map(str, names)) for names in row.texts],
            "candidate_img_lis": list(map(str, row.images)),
            "candidate_similarity_lis": list(map(float, row.similarity)),
            "candidate_geoclip_lis": list(map(float, row.geoclip)),
        }
        optional = {column: items for column, items in optional.items() if items}
        gps = {"candidate_gps_lis": plain(row.gps)}
        try:
            _check_lengths(gps | optional)
        except ValueError as error:
            raise ValueError(f"{row.img_id}: {error}") from None
        given |= optional.keys()
        lists = gps | optional | {"reverse_gps_lis": plain(row.reverse_gps), "zs_gps_lis": plain(row.zs_gps)}
        line = {"IMG_ID": row.img_id, "LAT": float(row.latitude), "LON": float(row.longitude)}
        lines.append(line | {column: str(items) for column, items in lists.items()})
    columns = [column for column in TABLE_COLUMNS if column not in _OPTIONAL_COLUMNS or column in given]
    write_rows(path, columns, lines)
