"""The ledger of a gallery: whose each photo is, under which licence, and where it was taken from.

It lies beside the metadata table: that of ``metadata.csv`` is ``metadata.ledger.csv``, with a row for each photo.
``tools.import_gallery`` writes both. Whoever shows a photo shows its credit line:

>>> credits = read_credits(ledger_path("paris/metadata.csv"), ["3859149887465501.jpg"])  # doctest: +SKIP
>>> credits["3859149887465501.jpg"].line  # doctest: +SKIP
'roadroid, CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/), https://www.mapillary.com/app/?pKey=...'
"""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from utils.jobs.reading import one_line
from utils.photos.credit import Credit
from utils.tables.metadata import BLOCK, LARGEST_BLOCK

COLUMNS = ("IMG_ID", *(field.name for field in fields(Credit)))


def ledger_path(metadata: str | os.PathLike) -> Path:
    """Where the ledger of a metadata table lies, if it has one."""
    return Path(metadata).with_suffix(".ledger.csv")


def ledgers_of(metadata: Iterable[str | os.PathLike]) -> list[Path]:
    """The ledgers of those metadata tables that have one."""
    return [path for path in map(ledger_path, metadata) if path.exists()]


def read_credits(path: str | os.PathLike, image_ids: Collection[str]) -> dict[str, Credit]:
    """The credits of some photos, by their IMG_ID as in the metadata table; one that the ledger has not is absent.

    The file is read as a stream, up to the last of them: the memory needed is that of the photos asked for. Raises
    ``ValueError``, naming the file, where it is no ledger.
    """
    wanted = pa.array(list(set(image_ids)), pa.string())
    found: dict[str, Credit] = {}
    for batch in _batches(path, COLUMNS):
        for image_id, *texts in zip(*batch.filter(pc.is_in(batch["IMG_ID"], wanted)).to_pydict().values(), strict=True):
            found[image_id] = Credit(*texts)
        if len(found) == len(wanted):
            break
    return found


def find_credits(
    paths: Iterable[str | os.PathLike], image_ids: Collection[str]
) -> tuple[dict[str, Credit], tuple[str, ...]]:
    """The same of several ledgers, and a line for each that cannot be read, which costs only the credits in it."""
    found: dict[str, Credit] = {}
    damaged = []
    for path in paths:
        try:
            found |= read_credits(path, image_ids)
        except (OSError, ValueError) as error:
            damaged.append(f"whose the gallery's photos are is not known: {one_line(error)}")
    return found, tuple(damaged)


def read_authors(path: str | os.PathLike) -> pd.DataFrame:
    """IMG_ID -> author_id and author, None where one is not known. Raises ``ValueError`` as ``read_credits`` does."""
    columns = ["IMG_ID", "author_id", "author"]
    empty = pa.schema([(column, pa.string()) for column in columns])
    table = pa.Table.from_batches(_batches(path, columns), empty).to_pandas()
    authors = table.drop_duplicates("IMG_ID").set_index("IMG_ID").astype(object)
    return authors.where(authors != "", None)


def _batches(path: str | os.PathLike, columns: Collection[str]) -> Iterator[pa.RecordBatch]:
    """The rows; those that are longer than a block are read in larger ones, as in ``metadata.py``."""
    block, done = BLOCK, 0
    while True:
        start = 0
        try:
            for batch in _open(path, columns, block):
                start += batch.num_rows
                if start > done:  # what came before was read in smaller blocks
                    yield batch.slice(max(0, batch.num_rows - (start - done)))
                    done = start
            return
        except (pa.ArrowInvalid, KeyError) as error:
            if "straddling object" not in str(error) or block >= LARGEST_BLOCK:
                raise ValueError(f"{path}: no ledger with columns {', '.join(columns)}: {error}") from error
            block = min(16 * block, LARGEST_BLOCK)


def _open(path: str | os.PathLike, columns: Collection[str], block: int) -> pa_csv.CSVStreamingReader:
    return pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=block),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            include_columns=list(columns), column_types=dict.fromkeys(columns, pa.string())
        ),
    )
