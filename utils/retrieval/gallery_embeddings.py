"""The embeddings of a gallery, kept in one file that is mapped into memory.

A gallery is embedded shard by shard: an interrupted run goes on at the first shard that is not on disk, and several
processes (``torchrun``) take every n-th shard each. A photo that cannot be read has a row of NaN, so that row numbers
stay those of the metadata table; the next run tries it again, and embeds photos that were replaced anew.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from utils.jobs.files import atomic_path, write_array, write_json
from utils.jobs.processes import Processes
from utils.jobs.progress import progress_bar
from utils.jobs.reading import check_keys, check_kinds, naming, read_array, read_json_object
from utils.model.fingerprints import weights_hash
from utils.photos.store import ImageStore
from utils.retrieval.embedding import embed_photos, embedded_batches, load_encoder, split
from utils.tables.metadata import ids_hash

logger = logging.getLogger(__name__)

FILENAME = "embeddings.json"  # beside embeddings.npy
STAMPS = "stamps.npy"  # beside it: size and time of each photo
DTYPES, STORAGES = ("auto", "float32", "bfloat16"), ("float32", "float16")
SHARD = 16_384  # photos embedded between two saves


@dataclass(frozen=True)
class EmbeddingInfo:
    """What the rows of ``embeddings.npy`` were made of: they are made again when any of it differs."""

    model: str  # weights_hash of the checkpoint
    dtype: str  # that the encoder computed in
    image_ids: str  # ids_hash of the metadata table
    photos: int  # rows
    storage: str = "float32"  # that the rows are kept in

    def __post_init__(self) -> None:
        check_kinds(vars(self), {"model": str, "dtype": str, "image_ids": str, "photos": int, "storage": str})
        for name, known in (("dtype", DTYPES), ("storage", STORAGES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it is one of {', '.join(known)}")
        if self.photos < 1:
            raise ValueError(f"photos is {self.photos}: it must be positive")

    @classmethod
    def load(cls, folder: Path) -> "EmbeddingInfo":
        """Read ``folder/embeddings.json``. Raises ``ValueError``, naming file and field, where it is damaged."""
        values = read_json_object(folder / FILENAME)
        with naming(folder / FILENAME):
            check_keys(values, cls)
            return cls(**values)


def read_embeddings(path: Path, photos: int, storage: str, mode: Literal["r", "r+"] = "r") -> np.memmap:
    """Embeddings (photos, d) of type ``storage``, mapped from a file.

    Raises ``ValueError``, naming the file, for anything else.
    """
    array = read_array(path, (storage,), 2, mode)
    if len(array) != photos or not array.shape[1]:
        raise ValueError(f"{path} has shape {array.shape}: it must hold a row for each of {photos} photos")
    return array


def gallery_embeddings(
    folder: Path,
    base: str | os.PathLike,
    image_ids: Sequence[str],
    store: ImageStore,
    dtype: str = "auto",
    device: str = "cpu",
    batch_size: int = 32,
    workers: int = 0,
    storage: str = "float32",
    processes: Processes | None = None,
) -> tuple[np.ndarray, list[str]] | None:
    """The embeddings of a gallery, from ``folder/embeddings.npy`` where they fit, else made and kept there.

    Args:
        storage: "float32", or "float16", which takes half the space.
        processes: those that call this together, each for its shards.

    Returns:
        (n, dimension) of type ``storage``, mapped from the file, and a message for each photo that could not be read;
        None in all processes but the first.
    """
    processes = processes or Processes()
    if not image_ids:
        raise ValueError("the gallery has no photos")
    file = folder / "embeddings.npy"
    info = EmbeddingInfo(weights_hash(base), dtype, ids_hash(image_ids), len(image_ids), storage)
    if (folder / FILENAME).exists() and EmbeddingInfo.load(folder) == info:
        if processes.rank > 0:
            return None
        stamps = stamps_of(store, image_ids)
        rows = np.flatnonzero(
            np.isnan(read_embeddings(file, info.photos, storage)[:, 0]) | _replaced(folder / STAMPS, stamps)
        )
        problems = []
        if len(rows):
            encoder = load_encoder(base, dtype, device)
            ids = [image_ids[row] for row in rows]
            again, problems = embed_photos(encoder, ids, store, batch_size, workers, "photos")
            read_embeddings(file, info.photos, storage, "r+")[rows] = again
        write_array(folder / STAMPS, stamps)
        return read_embeddings(file, info.photos, storage), problems

    # Named by what is in it: shards of another model or gallery are not taken for these.
    shards = folder / f"shards-{hashlib.sha256(json.dumps(asdict(info)).encode()).hexdigest()[:16]}"
    problems = _embed_shards(shards, base, image_ids, store, info, device, batch_size, workers, processes)
    gathered = processes.gather(problems)
    if gathered is None:
        return None
    # Interrupted from here on, the folder has no such files rather than those of other embeddings.
    for name in ("index.json", FILENAME):
        (folder / name).unlink(missing_ok=True)
    with atomic_path(file) as temporary:
        _merge(shards, info, temporary)
    write_array(
        folder / STAMPS, np.concatenate([_read_stamps(_stamps_path(shards, rows)) for rows in _split(info.photos)])
    )
    write_json(folder / FILENAME, asdict(info))
    shutil.rmtree(shards)
    return read_embeddings(file, info.photos, storage), [problem for part in gathered for problem in part]


def stamps_of(store: ImageStore, image_ids: Sequence[str]) -> np.ndarray:
    """(n, 2) int64: size in bytes and time in ns of each photo, -1 where there is none."""
    found = (store.stamp(image_id) or (-1, -1) for image_id in image_ids)
    return np.fromiter(found, dtype=np.dtype((np.int64, 2)), count=len(image_ids))


def _replaced(path: Path, stamps: np.ndarray) -> np.ndarray:
    """(n,) whether a photo has another stamp than ``path`` says; none has where there is no such file yet."""
    if not path.exists():
        logger.info("%s: embedded without noting which photos: taken for those that are there now", path.parent)
        return np.zeros(len(stamps), dtype=bool)
    earlier = _read_stamps(path)
    if earlier.shape != stamps.shape:
        raise ValueError(f"{path} has shape {earlier.shape}: it must hold a row for each of {len(stamps)} photos")
    return (earlier != stamps).any(axis=1)


def _read_stamps(path: Path) -> np.ndarray:
    return read_array(path, ("int64",), 2)


def _split(photos: int) -> list[range]:
    return split(range(photos), SHARD)


def _shard_path(folder: Path, rows: range) -> Path:
    return folder / f"{rows.start:09}.npy"


def _stamps_path(folder: Path, rows: range) -> Path:
    return folder / f"{rows.start:09}.stamps.npy"


def _embed_shards(
    folder: Path,
    base: str | os.PathLike,
    image_ids: Sequence[str],
    store: ImageStore,
    info: EmbeddingInfo,
    device: str,
    batch_size: int,
    workers: int,
    processes: Processes,
) -> list[str]:
    """Make those shards of this process that are not in ``folder`` yet; returns problems of all its shards."""
    shards = _split(len(image_ids))[processes.rank :: processes.count]
    problems, missing = [], []
    stamps = {rows: stamps_of(store, image_ids[rows.start : rows.stop]) for rows in shards}
    for rows in shards:
        if _shard_path(folder, rows).exists() and not _replaced(_stamps_path(folder, rows), stamps[rows]).any():
            shard = read_embeddings(_shard_path(folder, rows), len(rows), info.storage)
            unreadable = np.flatnonzero(np.isnan(shard[:, 0]))
            write_array(_stamps_path(folder, rows), stamps[rows])
            problems += [f"{image_ids[rows[row]]}: was unreadable; the next run tries it again" for row in unreadable]
        else:
            missing.append(rows)
    if not missing:
        return problems
    encoder = load_encoder(base, info.dtype, device)
    # One loader for all shards, so that the workers read ahead across their borders.
    batches = [split(rows, batch_size) for rows in missing]
    done = sum(map(len, shards)) - sum(map(len, missing))
    with progress_bar(total=sum(map(len, shards)), initial=done, desc="gallery", unit="photo") as progress:
        embedded = embedded_batches(
            encoder, image_ids, store, [batch for parts in batches for batch in parts], workers, progress
        )
        for shard, parts in zip(missing, batches, strict=True):
            embeddings = np.full((len(shard), encoder.dimension), np.nan, dtype=info.storage)
            for _ in parts:
                rows, vectors, found = next(embedded)
                embeddings[np.array(rows, dtype=np.int64) - shard.start] = vectors
                problems += found
            write_array(_stamps_path(folder, shard), stamps[shard])
            write_array(_shard_path(folder, shard), embeddings)
    return problems


def _merge(folder: Path, info: EmbeddingInfo, target: Path) -> None:
    """Write the shards of all photos as one array, without holding more than one of them in memory."""
    merged = None
    for rows in _split(info.photos):
        path = _shard_path(folder, rows)
        shard = read_embeddings(path, len(rows), info.storage)
        if merged is None:
            shape = (info.photos, shard.shape[1])
            merged = np.lib.format.open_memmap(target, "w+", dtype=shard.dtype, shape=shape)
        with naming(path):  # of another width
            merged[rows.start : rows.stop] = shard
    merged.flush()
