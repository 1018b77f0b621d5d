"""The hashes of all photos of a table: one pass over the photos, in worker processes, kept in shards.

An interrupted pass goes on at the first shard that is not on disk; photos that were replaced since are hashed anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from utils.auditing.hashes import gallery_hashes
from utils.jobs.files import write_array
from utils.jobs.locks import alone_in
from utils.jobs.progress import progress_bar
from utils.jobs.reading import read_array
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.retrieval.embedding import split
from utils.retrieval.gallery_embeddings import stamps_of
from utils.tables.metadata import ids_hash

SHARD = 16_384  # photos hashed between two saves
BATCH = 64  # photos that a worker hashes at a time


@dataclass(frozen=True)
class Hashes:
    """Of n photos: their ``gallery_hashes`` (n, 2) uint64, and which could be read (n,) bool."""

    codes: np.ndarray
    readable: np.ndarray


class _Photos(Dataset):
    def __init__(self, image_ids: Sequence[str], store: ImageStore) -> None:
        self.image_ids, self.store = image_ids, store

    def __getitem__(self, row: int) -> tuple[int, np.ndarray] | tuple[int, str]:
        try:
            return row, gallery_hashes(self.store.open(self.image_ids[row]))
        except ImageError as error:
            return row, str(error)


def hash_photos(
    folder: Path, image_ids: Sequence[str], store: ImageStore, workers: int = 0, label: str = "hashing"
) -> tuple[Hashes, list[str]]:
    """The hashes of the photos ``image_ids`` of ``store``, read from shards below ``folder`` or made and kept there.

    Returns:
        The hashes, and a message for each photo that could not be read: the next run tries it again.

    Raises:
        InUse: when another process is hashing the same photos into ``folder``.
        ValueError: naming the file, where a shard is damaged.
    """
    own = folder / ids_hash(image_ids)[:16]
    with alone_in(own):
        return _hash_shards(own, image_ids, store, workers, label)


def _hash_shards(
    folder: Path, image_ids: Sequence[str], store: ImageStore, workers: int, label: str
) -> tuple[Hashes, list[str]]:
    problems: list[str] = []
    # A row: size and time of the photo, whether it could be read, and its two hashes as signed numbers.
    table = np.zeros((len(image_ids), 5), dtype=np.int64)
    photos = _Photos(image_ids, store)
    with progress_bar(total=len(image_ids), desc=label, unit="photo") as bar:
        for rows in split(range(len(image_ids)), SHARD):
            shard = table[rows.start : rows.stop]
            shard[:, :2] = stamps_of(store, image_ids[rows.start : rows.stop])
            path = folder / f"{rows.start:09}.npy"
            missing = _missing(path, shard)
            bar.update(len(rows) - len(missing))
            loader = DataLoader(
                photos, batch_sampler=split_rows(missing + rows.start), num_workers=workers, collate_fn=list
            )
            for batch in loader:
                for row, found in batch:
                    if isinstance(found, str):
                        problems.append(found)
                    else:
                        table[row, 2], table[row, 3:] = 1, found.view(np.int64)
                bar.update(len(batch))
            if len(missing):
                write_array(path, shard)
    return Hashes(table[:, 3:].view(np.uint64), table[:, 2] == 1), problems


def _missing(path: Path, shard: np.ndarray) -> np.ndarray:
    """Fill in what the file ``path`` knows of ``shard``, whose stamps are there; returns the other rows."""
    if not path.exists():
        return np.arange(len(shard))
    kept = read_array(path, ("int64",), 2)
    if kept.shape != shard.shape:
        raise ValueError(f"{path} has shape {kept.shape}, not {shard.shape}: remove it, and its photos are hashed anew")
    known = (kept[:, :2] == shard[:, :2]).all(axis=1) & (kept[:, 2] == 1)
    shard[known] = kept[known]
    return np.flatnonzero(~known)


def split_rows(rows: np.ndarray) -> list[list[int]]:
    """Row numbers (n,) in batches for a worker."""
    return [rows[start : start + BATCH].tolist() for start in range(0, len(rows), BATCH)]
