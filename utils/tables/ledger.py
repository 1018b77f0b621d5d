"""The ledger of a gallery: whose each photo is, under which licence, and where it was taken from.

It lies beside the metadata table: that of ``metadata.csv`` is ``metadata.ledger.csv``, with a row for each photo.
``tools.import_gallery`` writes both. Whoever shows a photo shows its credit line:

>>> credits = read_credits(ledger_path("paris/metadata.csv"), ["3859149887465501.jpg"])  # doctest: +SKIP
>>> credits["3859149887465501.jpg"].line  # doctest: +SKIP
'roadroid, CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/), https://www.mapillary.com/app/?pKey=...'
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv


@dataclass(frozen=True)
class Credit:
    """Whose a photo is; a text is empty where it is not known."""

    author: str
    author_id: str  # tells authors apart where their names do not
    licence: str
    licence_url: str
    source: str  # where it was taken from: an address, or the name of a collection

    @property
    def line(self) -> str:
        """What is to be shown under the photo, one line of text."""
        licence = self.licence or "licence not stated"
        if self.licence_url:
            licence += f" ({self.licence_url})"
        return ", ".join(filter(None, (self.author or "unknown author", licence, self.source)))


COLUMNS = ("IMG_ID", *(field.name for field in fields(Credit)))


def ledger_path(metadata: str | os.PathLike) -> Path:
    """Where the ledger of a metadata table lies, if it has one."""
    return Path(metadata).with_suffix(".ledger.csv")


def read_credits(path: str | os.PathLike, image_ids: Collection[str]) -> dict[str, Credit]:
    """The credits of some photos, by their IMG_ID as in the metadata table; one that the ledger has not is absent.

    The file is read as a stream: the memory needed is that of the photos asked for. Raises ``ValueError``, naming the
    file, where it is no ledger.
    """
    wanted = pa.array(list(image_ids), pa.string())
    found = {}
    for batch in _batches(path, COLUMNS):
        for image_id, *texts in zip(*batch.filter(pc.is_in(batch["IMG_ID"], wanted)).to_pydict().values(), strict=True):
            found[image_id] = Credit(*texts)
    return found


def read_authors(path: str | os.PathLike) -> pd.Series:
    """IMG_ID -> author_id, None where it is not known. Raises ``ValueError`` as ``read_credits`` does."""
    batches = list(_batches(path, ("IMG_ID", "author_id")))
    authors = pa.Table.from_batches(batches).to_pandas() if batches else pd.DataFrame(columns=["IMG_ID", "author_id"])
    authors = authors.drop_duplicates("IMG_ID").set_index("IMG_ID")["author_id"].astype(object)
    return authors.where(authors != "", None)


def _batches(path: str | os.PathLike, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    types = dict.fromkeys(columns, pa.string())
    try:
        yield from pa_csv.open_csv(
            path,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(include_columns=list(columns), column_types=types),
        )
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(f"{path}: no ledger with columns {', '.join(columns)}: {error}") from error
