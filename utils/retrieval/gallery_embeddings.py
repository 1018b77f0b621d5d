"""The embeddings of a gallery, kept in one file that is mapped into memory.

A gallery is embedded shard by shard: an interrupted run makes those that are not on disk, and several processes take
one after the other from the same list (``utils/jobs/processes.py``). A photo that cannot be read has a row of NaN, so
that row numbers stay those of the metadata table; the next run tries it again, and embeds photos that were replaced
anew.
"""

import hashlib
import itertools
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from utils.jobs.files import atomic_path, write_array, write_json
from utils.jobs.processes import Processes, SharedWork
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
    check: Callable[[int], Any] | None = None,
) -> tuple[np.ndarray, list[str]] | None:
    """The embeddings of a gallery, from ``folder/embeddings.npy`` where they fit, else made and kept there.

    Args:
        storage: "float32", or "float16", which takes half the space.
        processes: those that call this together.
        check: given the dimension before photos are embedded; what it raises ends this.

    Returns:
        (n, dimension) of type ``storage``, mapped from the file, and a message for each photo that could not be read;
        None in all processes but the one that concludes.
    """
    processes = processes or Processes()
    if not image_ids:
        raise ValueError("the gallery has no photos")
    file = folder / "embeddings.npy"
    info = EmbeddingInfo(weights_hash(base), dtype, ids_hash(image_ids), len(image_ids), storage)
    if (folder / FILENAME).exists() and EmbeddingInfo.load(folder) == info:
        if not processes.concludes:
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
    making = _Shards(shards, base, image_ids, store, info, device, batch_size, workers, check)
    gathered = processes.together(making.embed)
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


@dataclass(frozen=True)
class _Shards:
    """The embeddings of a gallery, a part a file; see ``gallery_embeddings``."""

    folder: Path
    base: str | os.PathLike
    image_ids: Sequence[str]
    store: ImageStore
    info: EmbeddingInfo
    device: str
    batch_size: int
    workers: int
    check: Callable[[int], Any] | None

    def embed(self, processes: Processes) -> list[str]:
        """Make those that are not there yet, together with ``processes``; returns problems of those that were taken."""
        problems: list[str] = []
        work = SharedWork(_split(len(self.image_ids)), processes, "shards")
        with progress_bar(total=len(self.image_ids), desc="gallery", unit="photo") as progress:
            missing = self._missing(work, problems, progress)
            first = next(missing, None)
            if first is not None:
                self._embed(itertools.chain([first], missing), work, problems, progress)
        return problems

    def _missing(
        self, work: SharedWork[range], problems: list[str], progress: tqdm
    ) -> Iterator[tuple[range, np.ndarray]]:
        """The shards of ``work`` that are to be made, with the stamps (n, 2) of their photos now; notes the others."""
        for rows in work:
            stamps = stamps_of(self.store, self.image_ids[rows.start : rows.stop])
            path, stamps_path = _shard_path(self.folder, rows), _stamps_path(self.folder, rows)
            if not path.exists() or _replaced(stamps_path, stamps).any():
                yield rows, stamps
                continue
            unreadable = np.flatnonzero(np.isnan(read_embeddings(path, len(rows), self.info.storage)[:, 0]))
            write_array(stamps_path, stamps)
            problems += [
                f"{self.image_ids[rows[row]]}: was unreadable; the next run tries it again" for row in unreadable
            ]
            progress.update(work.finish(len(rows)) - progress.n)

    def _embed(
        self, missing: Iterable[tuple[range, np.ndarray]], work: SharedWork[range], problems: list[str], progress: tqdm
    ) -> None:
        encoder = load_encoder(self.base, self.info.dtype, self.device)
        if self.check is not None:
            self.check(encoder.dimension)
        begun: deque[tuple[range, np.ndarray]] = deque()

        def batches() -> Iterator[range]:
            for shard in missing:
                begun.append(shard)
                yield from split(shard[0], self.batch_size)

        # One loader for all shards, so that the workers read ahead across their borders.
        embedded = embedded_batches(encoder, self.image_ids, self.store, batches(), self.workers)
        for first in embedded:
            shard, stamps = begun.popleft()
            rest = itertools.islice(embedded, len(split(shard, self.batch_size)) - 1)
            embeddings = np.full((len(shard), encoder.dimension), np.nan, dtype=self.info.storage)
            for rows, vectors, found in itertools.chain([first], rest):
                embeddings[np.array(rows, dtype=np.int64) - shard.start] = vectors
                problems += found
                progress.update(work.finish(len(rows) + len(found)) - progress.n)
            write_array(_stamps_path(self.folder, shard), stamps)
            write_array(_shard_path(self.folder, shard), embeddings)


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
