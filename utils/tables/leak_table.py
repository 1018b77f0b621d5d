"""The table of a benchmark's leaks: what it has in common with a gallery, one query and reason a row."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

import pandas as pd

from utils.jobs.files import atomic_path
from utils.photos.formats import without_extension
from utils.tables.cells import check_row, read_rows

REASONS = {
    "same_id": "the gallery has a photo of the same IMG_ID",
    "same_owner": "the gallery has photos of the same owner",
    "placeholder": "many queries show the same picture",
    "near_duplicate": "the gallery has a photo of the same picture",
}


@dataclass(frozen=True)
class Leak:
    """Why a query should not count."""

    IMG_ID: str  # of the query
    reason: str  # one of REASONS
    gallery_id: str = ""  # IMG_ID of the gallery photo, the most alike or the first of several; empty: none
    photos: int = 1  # that it holds for: of the gallery; of a placeholder the queries that show it
    hash_bits: int | None = None  # in which the perceptual hashes differ, of 64; None: not by a hash
    likeness: float | None = None  # of the photos, see utils/auditing/alignment.py
    cosine: float | None = None  # of the embeddings, where an index was given


def write_leaks(path: str | os.PathLike, leaks: Iterable[Leak]) -> None:
    """Write the table, atomically."""
    table = pd.DataFrame([asdict(leak) for leak in leaks], columns=[field.name for field in fields(Leak)])
    with atomic_path(path) as temporary:
        table.astype({"hash_bits": "Int64"}).to_csv(temporary, index=False, float_format="%.4f")


def read_reasons(path: str | os.PathLike) -> dict[str, list[str]]:
    """IMG_ID of a query, without the extension of a photo -> why it is left out, each reason once.

    Only the columns IMG_ID and reason are read: a table may be made by hand.

    Raises:
        ValueError: naming the file, where a column is missing; naming the row, too, for an empty reason, or for what
            ``check_row`` refuses.
    """
    reasons: dict[str, list[str]] = {}
    for where, cells in read_rows(path, ["IMG_ID", "reason"]):
        try:
            check_row(cells)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if not cells["reason"].strip():
            raise ValueError(f"{where}: reason: empty")
        own = reasons.setdefault(without_extension(cells["IMG_ID"]), [])
        if cells["reason"] not in own:
            own.append(cells["reason"])
    return reasons
