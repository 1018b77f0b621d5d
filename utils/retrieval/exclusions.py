"""What a query may not find: photos of the same id or owner, and a search that leaves them out."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from utils.photos.formats import EXTENSIONS
from utils.retrieval.gallery import Gallery
from utils.tables.ledger import read_authors


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
    extension = "(?:" + "|".join(map(re.escape, EXTENSIONS)) + ")$"
    return Exclusion(*(ids.str.replace(extension, "", regex=True).tolist() for ids in (queries, gallery)))


def same_owner(queries: pd.Series, gallery: pd.Series, pattern: str) -> Exclusion:
    """Photos whose IMG_ID names the same owner: what the group of ``pattern`` matches first.

    Raises ``ValueError`` when ``pattern`` is no regular expression with one group, or fits no id of the gallery.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups: it must have one, for the owner")
    owners = [ids.str.extract(pattern, expand=False).astype(object) for ids in (queries, gallery)]
    if owners[1].isna().all():
        raise ValueError(f"no IMG_ID of the gallery names an owner by {pattern!r}")
    return Exclusion(*(names.where(names.notna(), None).tolist() for names in owners))


def same_author(queries: Sequence[tuple[pd.Series, Path]], gallery: Sequence[tuple[pd.Series, Path]]) -> Exclusion:
    """Photos of the same author by the ledgers of both sides (``utils/tables/ledger.py``).

    Each side is IMG_IDs with the ledger that has them, in the order of its rows. Raises ``ValueError``, naming the
    file, where one is no ledger.
    """
    return Exclusion(_authors(queries), _authors(gallery))


def _authors(tables: Sequence[tuple[pd.Series, Path]]) -> list[str | None]:
    found = []
    for ids, path in tables:
        authors = ids.map(read_authors(path)).astype(object)
        found += authors.where(authors.notna(), None).tolist()
    return found


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
