"""What a query may not find: photos of the same id or owner, and a search that leaves them out."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from utils.photos.formats import without_extension
from utils.retrieval.gallery import Gallery
from utils.tables.ledger import read_authors

Ledgered = tuple[pd.Series, Path]  # IMG_IDs, in the order of the rows, and the ledger that has them


class Exclusion:
    """Gallery photos that share a key, such as an owner, with a query.

    Args:
        queries: key of each query photo, None for one that has none.
        gallery: key of each gallery photo, likewise.
    """

    def __init__(self, queries: Sequence[str | None], gallery: Sequence[str | None]) -> None:
        codes, _ = pd.factorize(np.array([*queries, *gallery], dtype=object))  # -1 for None
        self.queries, self.gallery = codes[: len(queries)], codes[len(queries) :]

    def __call__(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether ``queries`` (m,) may not find their ``rows`` (m, k): (m, k) bool."""
        keys = self.queries[queries, None]
        return (keys >= 0) & (self.gallery[rows] == keys)


def same_id(queries: pd.Series, gallery: pd.Series) -> Exclusion:
    """Photos of the same IMG_ID, with or without the extension of a photo."""
    return Exclusion(*(ids.map(without_extension).tolist() for ids in (queries, gallery)))


def same_owner(queries: pd.Series, gallery: pd.Series, pattern: str) -> Exclusion:
    """Photos whose IMG_ID names the same owner: what the group of ``pattern`` matches first; nothing is nobody.

    Raises ``ValueError`` when ``pattern`` is no regular expression with one group, or fits no id of the gallery.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups: it must have one, for the owner")
    owners = [ids.str.extract(pattern, expand=False).fillna("").astype(object) for ids in (queries, gallery)]
    if (owners[1] == "").all():
        raise ValueError(f"no IMG_ID of the gallery names an owner by {pattern!r}")
    return Exclusion(*(names.where(names != "", None).tolist() for names in owners))


def same_author(queries: Sequence[Ledgered], gallery: Sequence[Ledgered]) -> list[Exclusion]:
    """Photos of the same author by the ledgers of both sides (``utils/tables/ledger.py``).

    Authors are the same whose ids are, or, where one of the two has no id, whose names are. Raises ``ValueError``,
    naming the file, where one is no ledger, and where ids and names of no query can be compared with the gallery's.
    """
    (own_ids, own_names), (ids, names) = _authors(queries), _authors(gallery)
    exclusions = [
        Exclusion(own_ids, ids),
        Exclusion(_without(own_names, own_ids), names),
        Exclusion(own_names, _without(names, ids)),
    ]
    if not any((found.queries >= 0).any() and (found.gallery >= 0).any() for found in exclusions):
        sides = [", ".join(str(path) for _, path in side) for side in (queries, gallery)]
        raise ValueError(f"{sides[0]} and {sides[1]} have neither author_id nor author in common: no owner is known")
    return exclusions


def _authors(tables: Sequence[Ledgered]) -> tuple[list[str | None], list[str | None]]:
    """Ids and names of the authors."""
    found = pd.concat([read_authors(path).reindex(ids) for ids, path in tables])
    found = found.where(found.notna(), None)
    return found["author_id"].tolist(), found["author"].tolist()


def _without(names: Sequence[str | None], ids: Sequence[str | None]) -> list[str | None]:
    """The names of those that have no id."""
    return [name if known is None else None for name, known in zip(names, ids, strict=True)]


def search_excluding(
    gallery: Gallery, embeddings: np.ndarray, topk: int, exclusions: Sequence[Exclusion], reverse: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """``Gallery.search`` without what ``exclusions`` forbid: searched wider until ``topk`` photos are left.

    Raises ``ValueError`` when ``topk`` photos are not left for a query in the whole gallery.
    """
    if not exclusions:
        return gallery.search(embeddings, topk, reverse)
    rows = np.empty((len(embeddings), topk), dtype=np.int64)
    scores = np.empty((len(embeddings), topk), dtype=np.float32)
    waiting, width = np.arange(len(embeddings)), topk
    while len(waiting):
        width = min(2 * width, gallery.photos)
        found, score = gallery.search(embeddings[waiting], width, reverse)
        forbidden = np.any([excluded(waiting, found) for excluded in exclusions], axis=0)
        # Allowed ones first, in their order.
        best = np.argsort(forbidden, axis=1, kind="stable")[:, :topk]
        enough = np.count_nonzero(~forbidden, axis=1) >= topk
        rows[waiting[enough]] = np.take_along_axis(found, best, 1)[enough]
        scores[waiting[enough]] = np.take_along_axis(score, best, 1)[enough]
        waiting = waiting[~enough]
        if len(waiting) and width == gallery.photos:
            raise ValueError(f"query {waiting[0]}: fewer than {topk} photos are left of {width} when some are excluded")
    return rows, scores
